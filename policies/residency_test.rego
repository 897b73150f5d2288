package library.residency_test

import data.library.fixture
import data.library.residency

test_good if count(residency.deny) == 0 with input as fixture.good with data.params as {"regions": ["eu"]}

test_one_region_outside if fixture.codes(residency.deny) == {"residency"} with input as fixture.endpoint({"processing_regions": ["eu", "us"]}) with data.params as {"regions": ["eu"]}

test_unknown if fixture.codes(residency.deny) == {"residency"} with input as fixture.endpoint({"processing_regions": ["unknown"]}) with data.params as {"regions": ["eu"]}
