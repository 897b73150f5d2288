# METADATA
# title: Nothing is kept at the provider
# description: >-
#   Refuses requests that build on what a provider has stored (previous responses, background runs, files by id) or
#   ask it to store the answer, and switches storage off in all others.
# custom:
#   control: GDPR-5.1e
#   severity: medium
package library.provider_state

reject contains {"code": "provider_state", "message": "the request asks for state at the provider (store, background, a previous response or a file by id)"} if {
	input.request.provider_state
}

require contains {"store": false}
