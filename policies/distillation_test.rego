package library.distillation_test

import data.library.distillation
import data.library.fixture

test_good if count(distillation.deny) == 0 with input as fixture.good

test_no if fixture.codes(distillation.deny) == {"distillation"} with input as fixture.endpoint({"distillation": "no"})

test_unknown if fixture.codes(distillation.deny) == {"distillation"} with input as fixture.endpoint({"distillation": "unknown"})
