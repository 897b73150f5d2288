package library.provider_state_test

import data.library.fixture
import data.library.provider_state

test_none if count(provider_state.reject) == 0 with input as fixture.good

test_state if fixture.codes(provider_state.reject) == {"provider_state"} with input as fixture.request({"provider_state": true})

test_require if provider_state.require == {{"store": false}} with input as fixture.good
