package library.certifications_test

import data.library.certifications
import data.library.fixture

test_good if count(certifications.deny) == 0 with input as fixture.good with data.params as {"required": ["soc2", "iso27001"]}

test_one_missing if fixture.codes(certifications.deny) == {"certifications"} with input as fixture.endpoint({"certifications": ["soc2"]}) with data.params as {"required": ["soc2", "iso27001"]}

test_none if fixture.codes(certifications.deny) == {"certifications"} with input as fixture.endpoint({"certifications": []}) with data.params as {"required": ["soc2", "iso27001"]}
