# METADATA
# title: Models by pattern
# description: >-
#   Where allow is given, no other model serves; deny names models that never do. A star stands for any part of a
#   name without a slash: openai/* are all models of openai.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       minProperties: 1
#       properties:
#         allow: {type: array, minItems: 1, items: {type: string}, description: "patterns of the only models that may serve"}
#         deny: {type: array, minItems: 1, items: {type: string}, description: "patterns of models that may not serve"}
# custom:
#   control: SOC2-CC6.1
#   severity: medium
package library.models

deny contains {"code": "model_not_allowed", "message": message} if {
	allowed := object.get(data.params, "allow", [])
	count(allowed) > 0
	not is_allowed
	message := sprintf("the model %s is none of %s", [input.endpoint.model, concat(", ", allowed)])
}

deny contains {"code": "model_denied", "message": message} if {
	some pattern in object.get(data.params, "deny", [])
	glob.match(pattern, ["/"], input.endpoint.model)
	message := sprintf("the model %s is on the policy's list of those that may not serve", [input.endpoint.model])
}

is_allowed if {
	some pattern in object.get(data.params, "allow", [])
	glob.match(pattern, ["/"], input.endpoint.model)
}
