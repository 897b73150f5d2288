package library.evidence_test

import data.library.evidence
import data.library.fixture

test_good if count(evidence.deny) == 0 with input as fixture.good with data.params as {"max_days": 90}

test_old if fixture.codes(evidence.deny) == {"evidence"} with input as fixture.endpoint({"data_policy": {"evidence_days": 91}}) with data.params as {"max_days": 90}

test_unknown if fixture.codes(evidence.deny) == {"evidence"} with input as fixture.endpoint({"data_policy": {"evidence_days": 36500}}) with data.params as {"max_days": 90}
