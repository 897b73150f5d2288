package library.zero_retention_test

import data.library.fixture
import data.library.zero_retention

test_good if {
	count(zero_retention.deny) == 0 with input as fixture.good
	count(zero_retention.require) == 0 with input as fixture.good
}

test_neither if fixture.codes(zero_retention.deny) == {"zero_retention"} with input as fixture.endpoint({"data_policy": {"zdr": "unknown"}})

test_option if {
	row := fixture.endpoint({"data_policy": {"zdr": "no", "zdr_option": true}})
	count(zero_retention.deny) == 0 with input as row
	zero_retention.require == {{"zdr": true}} with input as row
}
