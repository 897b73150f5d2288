# METADATA
# title: At most a number of providers see a request
# description: >-
#   Counts every provider that the body is sent to: first attempts, fallbacks and hedges.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [max]
#       properties:
#         max: {type: integer, minimum: 1, description: "providers that may see one request"}
# custom:
#   control: GDPR-28
#   severity: medium
package library.processors

require contains {"max_processors": data.params.max}
