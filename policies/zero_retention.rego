# METADATA
# title: Zero data retention
# description: >-
#   A row serves if zero data retention holds under its terms as things are, or if it can be switched on for one
#   request, which is then demanded.
# custom:
#   control: GDPR-5.1e
#   severity: high
package library.zero_retention

deny contains {"code": "zero_retention", "message": message} if {
	answer := input.endpoint.data_policy.zdr
	answer != "yes"
	not input.endpoint.data_policy.zdr_option
	message := sprintf("the terms say %s to zero data retention, and it cannot be switched on for a request", [answer])
}

require contains {"zdr": true} if input.endpoint.data_policy.zdr_option
