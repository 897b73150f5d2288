package library.performance_test

import data.library.fixture
import data.library.performance

test_nothing_asked if count(performance.deny) == 0 with input as fixture.good with data.params as {}

test_good if count(performance.deny) == 0 with input as fixture.good with data.params as {"max_ttft_ms": 500, "min_tps": 80, "min_uptime": 0.99}

test_latency if fixture.codes(performance.deny) == {"latency"} with input as fixture.good with data.params as {"max_ttft_ms": 400}

test_throughput if fixture.codes(performance.deny) == {"throughput"} with input as fixture.good with data.params as {"min_tps": 90}

test_uptime if fixture.codes(performance.deny) == {"uptime"} with input as fixture.good with data.params as {"min_uptime": 0.999}
