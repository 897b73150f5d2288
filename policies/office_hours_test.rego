package library.office_hours_test

import data.library.fixture
import data.library.office_hours

params := {"from_hour": 8, "to_hour": 18, "weekdays": ["monday", "tuesday"]}

at(hour, weekday) := object.union(fixture.good, {"time": {"hour": hour, "weekday": weekday}})

test_open if count(office_hours.reject) == 0 with input as at(17, "monday") with data.params as params

test_early if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(7, "monday") with data.params as params

test_late if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(18, "tuesday") with data.params as params

night := {"from_hour": 22, "to_hour": 6, "weekdays": ["friday", "sunday"]}

test_in_the_evening if count(office_hours.reject) == 0 with input as at(23, "friday") with data.params as night

test_in_the_morning_after if count(office_hours.reject) == 0 with input as at(5, "saturday") with data.params as night

test_in_the_morning_after_a_week if count(office_hours.reject) == 0 with input as at(0, "monday") with data.params as night

test_in_the_morning_before if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(5, "friday") with data.params as night

test_by_day if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(12, "friday") with data.params as night

test_another_evening if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(23, "saturday") with data.params as night

test_weekend if fixture.codes(office_hours.reject) == {"office_hours"} with input as at(10, "sunday") with data.params as params
