package library.models_test

import data.library.fixture
import data.library.models

test_no_lists if count(models.deny) == 0 with input as fixture.good with data.params as {}

test_allowed if count(models.deny) == 0 with input as fixture.good with data.params as {"allow": ["acme/*"], "deny": ["other/*"]}

test_not_allowed if fixture.codes(models.deny) == {"model_not_allowed"} with input as fixture.good with data.params as {"allow": ["other/*", "*"]}

test_denied if fixture.codes(models.deny) == {"model_denied"} with input as fixture.good with data.params as {"deny": ["acme/large*"]}
