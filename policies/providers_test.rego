package library.providers_test

import data.library.fixture
import data.library.providers

test_no_lists if count(providers.deny) == 0 with input as fixture.good with data.params as {}

test_allowed if count(providers.deny) == 0 with input as fixture.good with data.params as {"allow": ["alpha"], "deny": ["beta"]}

test_not_allowed if fixture.codes(providers.deny) == {"provider_not_allowed"} with input as fixture.good with data.params as {"allow": ["beta"]}

test_denied if fixture.codes(providers.deny) == {"provider_denied"} with input as fixture.good with data.params as {"deny": ["alpha"]}
