# METADATA
# title: Prompts are kept for no longer than a number of days
# description: >-
#   A retention that nobody has stated counts as 36500 days. For zero retention see library.zero_retention.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [max_days]
#       properties:
#         max_days: {type: integer, minimum: 0, description: "days for which a provider may keep prompts"}
# custom:
#   control: GDPR-5.1e
#   severity: high
package library.retention

deny contains {"code": "retention", "message": message} if {
	days := input.endpoint.data_policy.retention_days
	days > data.params.max_days
	message := sprintf("prompts are kept for %d days; the policy allows %d", [days, data.params.max_days])
}
