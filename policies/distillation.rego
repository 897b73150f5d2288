# METADATA
# title: Only models whose author permits distillation
# description: >-
#   A row serves only if the licence or terms of its model permit other models to be trained on its answers, and its provider
#   adds nothing against it. For whoever collects answers as training data. What nobody has stated, or whose review is
#   overdue, counts as unknown and is denied like a no.
# custom:
#   control: LICENCE-1
#   severity: medium
package library.distillation

deny contains {"code": "distillation", "message": message} if {
	answer := input.endpoint.distillation
	answer != "yes"
	message := sprintf("whether %s may be distilled: %s; the policy asks for yes", [input.endpoint.model, answer])
}
