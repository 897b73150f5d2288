package library.training_test

import data.library.fixture
import data.library.training

test_good if count(training.deny) == 0 with input as fixture.good

test_yes if fixture.codes(training.deny) == {"training"} with input as fixture.endpoint({"data_policy": {"training": "yes"}})

test_unknown if fixture.codes(training.deny) == {"training"} with input as fixture.endpoint({"data_policy": {"training": "unknown"}})
