# METADATA
# title: Only named laws reach the data
# description: >-
#   Where data is processed and whose law reaches it are two questions: a company can be ordered to hand over what
#   it stores abroad.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [jurisdictions]
#       properties:
#         jurisdictions: {type: array, minItems: 1, items: {type: string}, description: "ISO 3166-1 alpha-2 or EU"}
# custom:
#   control: GDPR-48
#   severity: high
package library.jurisdiction

deny contains {"code": "jurisdiction", "message": message} if {
	law := input.endpoint.jurisdiction
	not law in data.params.jurisdictions
	message := sprintf("the law of %s reaches the data; the policy allows %s", [law, concat(", ", data.params.jurisdictions)])
}
