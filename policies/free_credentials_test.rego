package library.free_credentials_test

import data.library.fixture
import data.library.free_credentials

test_paid if count(free_credentials.deny) == 0 with input as fixture.request({"data_class": "restricted"})

test_public if count(free_credentials.deny) == 0 with input as fixture.endpoint({"free": true})

test_internal if {
	row := object.union(fixture.endpoint({"free": true}), {"request": {"data_class": "internal"}})
	fixture.codes(free_credentials.deny) == {"free_credentials"} with input as row
}
