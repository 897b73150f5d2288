# METADATA
# title: Requests at certain hours only
# description: >-
#   Hours and weekdays in UTC. The hour to is no longer one of them. Where it is not after the hour from, it is that of the next day,
#   which need not be one of the weekdays.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [from_hour, to_hour, weekdays]
#       properties:
#         from_hour: {type: integer, minimum: 0, maximum: 23, description: "first hour in UTC"}
#         to_hour: {type: integer, minimum: 1, maximum: 24, description: "hour in UTC at which it ends"}
#         weekdays: {type: array, minItems: 1, items: {type: string, enum: [monday, tuesday, wednesday, thursday, friday, saturday, sunday]}, description: "days on which requests are served"}
# custom:
#   control: ISO27001-A.8.2
#   severity: low
package library.office_hours

reject contains {"code": "office_hours", "message": message} if {
	not open_now
	message := sprintf("requests are served from %d to %d o'clock UTC on %s", [data.params.from_hour, data.params.to_hour, concat(", ", data.params.weekdays)])
}

open_now if {
	input.time.weekday in data.params.weekdays
	input.time.hour >= data.params.from_hour
	input.time.hour < data.params.to_hour
}

# Over midnight: the evening of a named day, and the morning after it.
open_now if {
	data.params.to_hour <= data.params.from_hour
	input.time.weekday in data.params.weekdays
	input.time.hour >= data.params.from_hour
}

open_now if {
	data.params.to_hour <= data.params.from_hour
	input.time.weekday in {after[day] | some day in data.params.weekdays}
	input.time.hour < data.params.to_hour
}

after := {
	"monday": "tuesday",
	"tuesday": "wednesday",
	"wednesday": "thursday",
	"thursday": "friday",
	"friday": "saturday",
	"saturday": "sunday",
	"sunday": "monday",
}
