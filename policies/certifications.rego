# METADATA
# title: Certifications that a provider must hold
# description: >-
#   Each named certification must be listed for the row in the catalog.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [required]
#       properties:
#         required: {type: array, minItems: 1, items: {type: string}, description: "as the catalog names them, such as soc2 or iso27001"}
# custom:
#   control: SOC2-CC9.2
#   severity: medium
package library.certifications

deny contains {"code": "certifications", "message": message} if {
	some certification in data.params.required
	not certification in input.endpoint.certifications
	message := sprintf("the certification %s is not stated; the policy requires it", [certification])
}
