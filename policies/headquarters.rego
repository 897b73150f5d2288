# METADATA
# title: Only providers with their seat in named countries
# description: >-
#   The country of the provider's headquarters, whatever the region of the deployment.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [countries]
#       properties:
#         countries: {type: array, minItems: 1, items: {type: string}, description: "ISO 3166-1 alpha-2"}
# custom:
#   control: GDPR-48
#   severity: medium
package library.headquarters

deny contains {"code": "headquarters", "message": message} if {
	country := input.endpoint.headquarters
	not country in data.params.countries
	message := sprintf("the provider has its seat in %s; the policy allows %s", [country, concat(", ", data.params.countries)])
}
