# METADATA
# title: Latency and uptime that are good enough
# description: >-
#   Measured figures in buckets; where there is no sample yet, estimates from the model's other endpoints and the
#   catalog. What is left out is not asked for.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       minProperties: 1
#       properties:
#         max_ttft_ms: {type: number, minimum: 0, description: "greatest 90th percentile of the time to the first token in milliseconds"}
#         min_tps: {type: number, minimum: 0, description: "least median of output tokens a second"}
#         min_uptime: {type: number, minimum: 0, maximum: 1, description: "least share of attempts that succeed"}
# custom:
#   control: SLO-1
#   severity: low
package library.performance

deny contains {"code": "latency", "message": message} if {
	ttft := input.endpoint.stats.ttft_ms.p90
	ceiling := object.get(data.params, "max_ttft_ms", ttft)
	ttft > ceiling
	message := sprintf("nine in ten first tokens come within %v ms; the policy allows %v", [ttft, ceiling])
}

deny contains {"code": "throughput", "message": message} if {
	tps := input.endpoint.stats.tps.p50
	floor := object.get(data.params, "min_tps", tps)
	tps < floor
	message := sprintf("it gives %v tokens a second; the policy asks for %v", [tps, floor])
}

deny contains {"code": "uptime", "message": message} if {
	uptime := input.endpoint.stats.uptime
	floor := object.get(data.params, "min_uptime", uptime)
	uptime < floor
	message := sprintf("%v of attempts succeed; the policy asks for %v", [uptime, floor])
}
