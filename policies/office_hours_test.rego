package library.office_hours_test

import data.library.fixture
import data.library.office_hours

params := {"from_hour": 8, "to_hour": 18, "weekdays": ["monday", "tuesday"]}

at(hour, weekday) := object.union(fixture.good, {"time": {"hour": hour, "weekday": weekday}})

test_open if count(office_hours.reject) == 0 with input as at(17, "monday") with data.params as params

test_early if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(7, "monday") with data.params as params

test_late if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(18, "tuesday") with data.params as params

test_weekend if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(10, "sunday") with data.params as params
