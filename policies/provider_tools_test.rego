package library.provider_tools_test

import data.library.fixture
import data.library.provider_tools

test_own_tools if count(provider_tools.reject) == 0 with input as fixture.good

test_provider_tools if {
	asked := fixture.request({"tool_kinds": ["web_search"], "provider_tools": true})
	fixture.codes(provider_tools.reject) == {"provider_tools"} with input as asked
}

test_require if provider_tools.require == {{"no_provider_tools": true}} with input as fixture.good
