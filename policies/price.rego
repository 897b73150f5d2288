# METADATA
# title: Price ceilings
# description: >-
#   Ceilings in USD per million tokens, as providers publish prices. What is left out has no ceiling.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       minProperties: 1
#       properties:
#         prompt: {type: number, minimum: 0, description: "USD per million input tokens"}
#         completion: {type: number, minimum: 0, description: "USD per million output tokens"}
# custom:
#   control: FINOPS-1
#   severity: low
package library.price

deny contains {"code": "price_prompt", "message": message} if {
	price := input.endpoint.price.prompt
	ceiling := object.get(data.params, "prompt", price)
	price > ceiling
	message := sprintf("input costs %v USD per million tokens; the policy allows %v", [price, ceiling])
}

deny contains {"code": "price_completion", "message": message} if {
	price := input.endpoint.price.completion
	ceiling := object.get(data.params, "completion", price)
	price > ceiling
	message := sprintf("output costs %v USD per million tokens; the policy allows %v", [price, ceiling])
}
