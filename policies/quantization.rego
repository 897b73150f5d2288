# METADATA
# title: Quantizations that are good enough
# description: >-
#   Only rows that state one of the named quantizations serve. Where it is not stated it is unknown, which can be
#   named too.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [allow]
#       properties:
#         allow: {type: array, minItems: 1, items: {type: string}, description: "such as bf16, fp16, fp8 or unknown"}
# custom:
#   control: QUALITY-1
#   severity: low
package library.quantization

deny contains {"code": "quantization", "message": message} if {
	quantization := input.endpoint.quantization
	not quantization in data.params.allow
	message := sprintf("the quantization is %s; the policy allows %s", [quantization, concat(", ", data.params.allow)])
}
