# METADATA
# title: No provider that trains on prompts
# description: >-
#   A row serves only if its terms say that prompts do not train models. Terms that nobody has stated, or whose review is
#   overdue, count as unknown and are denied like a yes.
# custom:
#   control: GDPR-28
#   severity: high
package library.training

# METADATA
# title: Prompts may train models
deny contains {"code": "training", "message": $"the terms say {input.endpoint.data_policy.training} to training on prompts"} if {
	input.endpoint.data_policy.training != "no"
}
