package library.output_limit_test

import data.library.output_limit

test_require if output_limit.require == {{"max_output_tokens": 4096}} with data.params as {"max": 4096}
