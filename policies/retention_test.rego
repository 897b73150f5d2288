package library.retention_test

import data.library.fixture
import data.library.retention

test_good if count(retention.deny) == 0 with input as fixture.good with data.params as {"max_days": 30}

test_longer if fixture.codes(retention.deny) == {"retention"} with input as fixture.endpoint({"data_policy": {"retention_days": 31}}) with data.params as {"max_days": 30}

test_unknown if fixture.codes(retention.deny) == {"retention"} with input as fixture.endpoint({"data_policy": {"retention_days": 36500}}) with data.params as {"max_days": 30}
