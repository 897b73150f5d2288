package library.fixture

# A row that every policy of the library permits, and a request that none rejects.
good := {
	"endpoint": {
		"provider": "alpha",
		"model": "acme/large",
		"free": false,
		"self_hosted": false,
		"processing_regions": ["eu"],
		"jurisdiction": "DE",
		"headquarters": "DE",
		"distillation": "yes",
		"quantization": "fp8",
		"certifications": ["iso27001", "soc2"],
		"price": {"prompt": 0.5, "completion": 1.5},
		"data_policy": {"training": "no", "retention_days": 0, "zdr": "yes", "zdr_option": false, "evidence_days": 30},
		"stats": {"samples": 100, "ttft_ms": {"p90": 500}, "tps": {"p50": 80}, "uptime": 0.995},
	},
	"request": {"data_class": "public", "data_class_rank": 0, "tool_kinds": ["function"], "provider_tools": false, "provider_state": false},
	"time": {"hour": 10, "weekday": "monday"},
}

endpoint(changes) := object.union(good, {"endpoint": changes})

request(changes) := object.union(good, {"request": changes})

codes(reasons) := {reason.code | some reason in reasons}
