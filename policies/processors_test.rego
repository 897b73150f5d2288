package library.processors_test

import data.library.processors

test_require if processors.require == {{"max_processors": 2}} with data.params as {"max": 2}
