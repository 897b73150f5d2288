# METADATA
# title: Free credentials only for public data
# description: >-
#   What costs nothing is often paid for with data: rows that the provider bills nothing for serve only requests
#   whose data class, in effect, is public.
# custom:
#   control: GDPR-28
#   severity: high
package library.free_credentials

deny contains {"code": "free_credentials", "message": message} if {
	input.endpoint.free
	class := input.request.data_class
	class != "public"
	message := sprintf("free credentials serve public data only; this request is %s", [class])
}
