package chaos

import (
	"testing"

	"chaperone/engine/sim"
)

func TestWhatAClientSaw(t *testing.T) {
	text := sim.Choice{Text: "one two", FinishReason: "stop"}
	call := sim.Choice{Call: &sim.Call{Arguments: `{"a":1}`}, FinishReason: "tool_calls"}
	for _, c := range []struct {
		seen  seen
		right sim.Choice
		fault Fault
		want  string
	}{
		{seen{status: 200, text: "one two", finish: "stop", done: true}, text, Fault{}, SawAnswer},
		{seen{status: 200, text: "one", finish: "stop", done: true}, text, Fault{}, SawTruncated},
		{seen{status: 200, text: "one two", done: true}, text, Fault{}, SawTruncated},
		{seen{status: 200, arguments: `{"a":1}`, finish: "tool_calls", done: true}, call, Fault{}, SawAnswer},
		{seen{status: 200, arguments: `{"a"`, finish: "tool_calls", done: true}, call, Fault{}, SawTruncated},
		{seen{status: 200, text: "one", failure: "broke off"}, text, Fault{}, SawBrokenOff},
		{seen{status: 200, text: "one"}, text, Fault{}, SawBrokenOff},
		{seen{status: 502, failure: "no"}, text, Fault{}, SawError},
		{seen{status: 200, failure: "no"}, text, Fault{}, SawError},
		{seen{status: 400, failure: "no"}, text, Fault{ofRequest: true}, SawRefusal},
		{seen{status: 200, failure: "no"}, text, Fault{ofRequest: true}, SawRefusal},
	} {
		if got := c.seen.against(c.right, c.fault); got != c.want {
			t.Errorf("%+v is %s, want %s", c.seen, got, c.want)
		}
	}
}
