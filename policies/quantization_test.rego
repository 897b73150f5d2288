package library.quantization_test

import data.library.fixture
import data.library.quantization

test_good if count(quantization.deny) == 0 with input as fixture.good with data.params as {"allow": ["bf16", "fp8"]}

test_coarser if fixture.codes(quantization.deny) == {"quantization"} with input as fixture.endpoint({"quantization": "int4"}) with data.params as {"allow": ["bf16", "fp8"]}

test_unknown if fixture.codes(quantization.deny) == {"quantization"} with input as fixture.endpoint({"quantization": "unknown"}) with data.params as {"allow": ["bf16", "fp8"]}
