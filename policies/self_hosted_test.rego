package library.self_hosted_test

import data.library.fixture
import data.library.self_hosted

sensitive := {"data_class": "confidential", "data_class_rank": 2}

test_public if count(self_hosted.deny) == 0 with input as fixture.good with data.params as {"from": "internal"}

test_below if count(self_hosted.deny) == 0 with input as fixture.request(sensitive) with data.params as {"from": "restricted"}

test_elsewhere if fixture.codes(self_hosted.deny) == {"self_hosted"} with input as fixture.request(sensitive) with data.params as {"from": "confidential"}

test_at_home if {
	row := object.union(fixture.request(sensitive), {"endpoint": {"self_hosted": true}})
	count(self_hosted.deny) == 0 with input as row with data.params as {"from": "confidential"}
}
