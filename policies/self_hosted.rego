# METADATA
# title: Sensitive data stays on machines of one's own
# description: >-
#   From a data class on, only rows that need no credential serve: those that run on machines of one's own.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [from]
#       properties:
#         from: {type: string, enum: [internal, confidential, restricted], description: "least data class that stays at home"}
# custom:
#   control: ISO27001-A.5.12
#   severity: high
package library.self_hosted

deny contains {"code": "self_hosted", "message": message} if {
	not input.endpoint.self_hosted
	input.request.data_class_rank >= rank[data.params.from]
	message := sprintf("%s data stays on machines of one's own", [input.request.data_class])
}

rank := {"internal": 1, "confidential": 2, "restricted": 3}
