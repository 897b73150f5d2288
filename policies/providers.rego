# METADATA
# title: Providers by name
# description: >-
#   Where allow is given, no other provider serves; deny names providers that never do. Use either or both.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       minProperties: 1
#       properties:
#         allow: {type: array, minItems: 1, items: {type: string}, description: "ids of the only providers that may serve"}
#         deny: {type: array, minItems: 1, items: {type: string}, description: "ids of providers that may not serve"}
# custom:
#   control: SOC2-CC9.2
#   severity: medium
package library.providers

deny contains {"code": "provider_not_allowed", "message": message} if {
	allowed := object.get(data.params, "allow", [])
	count(allowed) > 0
	not input.endpoint.provider in allowed
	message := sprintf("the provider %s is none of %s", [input.endpoint.provider, concat(", ", allowed)])
}

deny contains {"code": "provider_denied", "message": message} if {
	input.endpoint.provider in object.get(data.params, "deny", [])
	message := sprintf("the provider %s is on the policy's list of those that may not serve", [input.endpoint.provider])
}
