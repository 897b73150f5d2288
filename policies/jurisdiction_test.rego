package library.jurisdiction_test

import data.library.fixture
import data.library.jurisdiction

test_good if count(jurisdiction.deny) == 0 with input as fixture.good with data.params as {"jurisdictions": ["DE", "EU"]}

test_another_law if fixture.codes(jurisdiction.deny) == {"jurisdiction"} with input as fixture.endpoint({"jurisdiction": "US"}) with data.params as {"jurisdictions": ["DE", "EU"]}

test_unknown if fixture.codes(jurisdiction.deny) == {"jurisdiction"} with input as fixture.endpoint({"jurisdiction": "unknown"}) with data.params as {"jurisdictions": ["DE", "EU"]}
