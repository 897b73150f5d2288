package telemetry

import "time"

// Quota is what is left of a provider's limit until it is filled up again.
type Quota struct {
	Known bool
	Left  int64
	Reset time.Time
}

// Headroom is what a provider says is left for one credential.
type Headroom struct {
	Requests Quota
	Tokens   Quota
}

// lacks says whether n are more than is known to be left.
func (q *Quota) lacks(n int64, now time.Time) bool {
	return q.Known && now.Before(q.Reset) && q.Left < n
}

// Wait is how long until a request of so many tokens fits into what is left; 0: it does, or nothing is known.
func (h *Headroom) Wait(tokens int64, now time.Time) time.Duration {
	var wait time.Duration
	if h.Requests.lacks(1, now) {
		wait = h.Requests.Reset.Sub(now)
	}
	if h.Tokens.lacks(tokens, now) {
		wait = max(wait, h.Tokens.Reset.Sub(now))
	}
	return wait
}

// take counts what is about to be used: the provider's next answer, which says what is left, is still to come.
func (q *Quota) take(n int64) {
	if q.Known {
		q.Left = max(0, q.Left-n)
	}
}

// learn takes in what a provider says. Answers overtake each other: within one period the least counts.
func (q *Quota) learn(said Quota, now time.Time) {
	if !said.Known {
		return
	}
	if q.Known && now.Before(q.Reset) && q.Left < said.Left && said.Reset.Sub(q.Reset) < time.Second {
		return
	}
	*q = said
}
