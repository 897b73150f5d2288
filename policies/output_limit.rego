# METADATA
# title: Answers are no longer than a number of tokens
# description: >-
#   Lowers the limit of a request that asks for more, and sets it in one that names none.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [max]
#       properties:
#         max: {type: integer, minimum: 1, description: "greatest number of output tokens"}
# custom:
#   control: FINOPS-1
#   severity: low
package library.output_limit

require contains {"max_output_tokens": data.params.max}
