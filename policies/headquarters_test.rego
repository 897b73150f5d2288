package library.headquarters_test

import data.library.fixture
import data.library.headquarters

test_good if count(headquarters.deny) == 0 with input as fixture.good with data.params as {"countries": ["DE", "FR"]}

test_another_country if fixture.codes(headquarters.deny) == {"headquarters"} with input as fixture.endpoint({"headquarters": "US"}) with data.params as {"countries": ["DE", "FR"]}

test_unknown if fixture.codes(headquarters.deny) == {"headquarters"} with input as fixture.endpoint({"headquarters": "unknown"}) with data.params as {"countries": ["DE", "FR"]}
