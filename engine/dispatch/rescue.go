package dispatch

import (
	"bytes"
	"slices"

	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

// rescue is what an answer that broke off needs to be brought to its end.
type rescue struct {
	method string // journal.ForContinue or ForSplice
	said   []byte // the text that the client has
	used   int64  // about how many tokens that is
	cost   catalog.Picodollars
}

// unfit says whether a fault only shows that a row cannot be used for this method of rescue.
func (x *rescue) unfit(f *Fault) bool {
	return f.Scope == OfRequest || f.Scope == OfModel || f.Kind == "diverged" || f.Kind == "unsupported"
}

// continues says whether the attempt gives the rest of an answer only.
func (a *attempt) continues() bool { return a.rescue != nil && a.rescue.method == journal.ForContinue }

// rescue gets an attempt that goes on where one broke off; nil where there is none. It is of the same model, at a row that
// its permit lets be used for this.
func (r *run) rescue(dead *attempt) *attempt {
	r.reap() // a loser of the race that dead has won must not come in as a rescuer
	// What has failed in the middle of an answer is left alone for the rest of the request.
	r.drop(func(row *catalog.Row) bool { return row.ID == dead.row.ID })
	if why := r.beyondRescue(dead); why != "" {
		r.outcome.NotRescued = why
		return nil
	}
	x := rescue{said: dead.text, used: dead.answerUsage().CompletionTokens, cost: dead.cost()}
	if !dead.usage.Known {
		x.used = wire.EstimateTokens(len(dead.text))
	}
	if dead.rescue != nil {
		x.cost = x.cost.Plus(dead.rescue.cost)
	}
	for _, method := range r.j.Limits.Rescue {
		x := x
		x.method = method
		e := &errand{rescue: &x, spent: map[string]bool{}}
		same := func(p policy.Permit) bool { return p.Row().Model.ID == dead.row.Model.ID && !p.Obligations().NoRescue }
		switch {
		case method == journal.ForSplice:
			e.suits, e.open = same, (*attempt).openSplice
		case r.j.Plan.Request.ResponseFormat != "text":
			continue // where one model stops in the middle of a structure, another need not take it up rightly
		default:
			e.suits = func(p policy.Permit) bool { return same(p) && p.Row().Continues != "" }
			e.open = (*attempt).openContinuation
		}
		if a := r.win(e); a != nil {
			return a
		}
		if r.work.Err() != nil || r.over != nil {
			return nil
		}
	}
	return nil
}

// beyondRescue says why an answer that broke off is not taken up elsewhere; "" where that may be tried.
func (r *run) beyondRescue(dead *attempt) string {
	req := r.j.Plan.Request
	switch {
	case len(r.j.Limits.Rescue) == 0:
		return "not configured"
	case dead.permit.Obligations().NoRescue:
		return "an obligation forbids it"
	case dead.fault.Scope == OfRequest:
		return "the provider ended the answer for what it says"
	case dead.fault.Scope == OfRouter:
		return "the time for the request is over"
	case req.N > 1:
		return "several choices were asked for"
	case slices.Contains(req.Parameters, "logprobs"), slices.Contains(req.Parameters, "top_logprobs"):
		return "log probabilities were asked for"
	case dead.more:
		return "the answer has more than text: a tool call, reasoning, a refusal or media"
	case dead.finished > 0:
		return "the answer has its finish reason"
	}
	return ""
}

// openContinuation reads up to the first content of the rest, and leaves it in a.deltas.
func (a *attempt) openContinuation() *Fault {
	if f := a.begin(); f != nil {
		return f
	}
	for {
		kind, _, f := a.step()
		switch {
		case f != nil:
			return f
		case kind == wire.End:
			return fault("empty_answer", a.status, "")
		case kind == wire.Comment:
			continue
		case a.chunk.Commits || a.chunk.FinishReason != "":
			a.timer.Stop()
			a.committed()
			return nil
		}
	}
}

// openSplice reads the whole answer once more, up to where it says more than the client has, and checks that it says the same
// up to there. What is more it leaves in a.deltas.
func (a *attempt) openSplice() *Fault {
	if f := a.begin(); f != nil {
		return f
	}
	said := a.rescue.said
	for {
		before := len(a.text)
		kind, _, f := a.step()
		switch {
		case f != nil:
			return f
		case kind == wire.Comment:
			continue
		case a.more && before == len(said) && len(a.text) == before:
			// All that the client has was said alike, and this is the first that comes behind it.
			a.timer.Stop()
			return nil
		case kind == wire.End, a.more:
			return fault("diverged", a.status, "")
		case a.chunk.Commits && a.ttft == 0:
			a.committed()
		}
		a.timer.Reset(a.patient.Idle)
		same := min(len(a.text), len(said))
		finished := a.chunk.FinishReason != ""
		switch {
		case !bytes.Equal(a.text[before:same:same], said[before:same]):
			return fault("diverged", a.status, "")
		case len(a.text) > len(said), len(a.text) == len(said) && finished:
			a.timer.Stop()
			a.deltas = a.beyond(len(said))
			return nil
		case finished:
			return fault("diverged", a.status, "")
		}
	}
}

// beyond is what the answer has after so many bytes of text: the rest of the text, and how it ends where it does.
func (a *attempt) beyond(said int) []talk.Delta {
	var rest []talk.Delta
	if text := string(a.text[said:]); text != "" {
		rest = append(rest, talk.Delta{Kind: talk.AddText, Text: text})
	}
	if n := len(a.deltas); n > 0 && a.deltas[n-1].Kind == talk.EndChoice {
		rest = append(rest, a.deltas[n-1])
	}
	return rest
}

// answerUsage is the usage of the answer as the client has it: of one that was continued, with what was said before.
func (a *attempt) answerUsage() wire.Usage {
	u := a.usage
	if a.continues() && u.Known {
		used := min(a.rescue.used, u.PromptTokens)
		u.PromptTokens -= used
		u.CompletionTokens += a.rescue.used
	}
	return u
}
