package library.price_test

import data.library.fixture
import data.library.price

test_no_ceilings if count(price.deny) == 0 with input as fixture.good with data.params as {}

test_below if count(price.deny) == 0 with input as fixture.good with data.params as {"prompt": 0.5, "completion": 1.5}

test_prompt if fixture.codes(price.deny) == {"price_prompt"} with input as fixture.good with data.params as {"prompt": 0.4}

test_completion if fixture.codes(price.deny) == {"price_completion"} with input as fixture.good with data.params as {"completion": 1}
