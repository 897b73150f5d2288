package chaos

import (
	"net/http"

	"chaperone/engine/sim"
)

// against says what a client saw beside what it should have seen.
func (s *seen) against(right sim.Choice, f Fault) string {
	arguments := ""
	if right.Call != nil {
		arguments = right.Call.Arguments
	}
	// An error in place of an answer is one also where it comes as an event, since the head of the stream was due.
	instead := s.failure != "" && s.text == "" && s.arguments == ""
	switch {
	case s.done && s.failure == "" && s.text == right.Text && s.arguments == arguments && s.finish == right.FinishReason:
		return SawAnswer
	case s.done && s.failure == "":
		return SawTruncated
	case s.status == http.StatusOK && !instead:
		return SawBrokenOff
	case f.ofRequest:
		return SawRefusal
	}
	return SawError
}
