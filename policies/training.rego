# METADATA
# title: No provider that trains on prompts
# description: >-
#   A row serves only if its terms say that prompts do not train models. Terms that nobody has stated, or whose
#   review is overdue, count as unknown and are denied like a yes.
# custom:
#   control: GDPR-28
#   severity: high
package library.training

deny contains {"code": "training", "message": message} if {
	answer := input.endpoint.data_policy.training
	answer != "no"
	message := sprintf("the terms say %s to training on prompts; the policy asks for no", [answer])
}
