# METADATA
# title: Data is processed in named regions only
# description: >-
#   Every region in which a row may process a request must be named. A global deployment has all regions, and one
#   that nobody has stated is in the region unknown.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [regions]
#       properties:
#         regions: {type: array, minItems: 1, items: {type: string}, description: "regions where requests may be processed, such as eu"}
# custom:
#   control: GDPR-44
#   severity: high
package library.residency

deny contains {"code": "residency", "message": message} if {
	some region in input.endpoint.processing_regions
	not region in data.params.regions
	message := sprintf("it may process in %s; the policy allows %s", [region, concat(", ", data.params.regions)])
}
