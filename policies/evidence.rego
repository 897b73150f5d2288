# METADATA
# title: Evidence of a data policy is recent
# description: >-
#   What the catalog says of a row's terms must have been read within a number of days. Where no date is stated, or
#   the review is overdue, it counts as 36500 days old.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [max_days]
#       properties:
#         max_days: {type: integer, minimum: 1, description: "greatest age of the evidence"}
# custom:
#   control: GDPR-28
#   severity: low
package library.evidence

deny contains {"code": "evidence", "message": message} if {
	days := input.endpoint.data_policy.evidence_days
	days > data.params.max_days
	message := sprintf("the evidence of its data policy is %d days old; the policy allows %d", [days, data.params.max_days])
}
