package replay_test

import (
	"math/rand/v2"
	"testing"

	"chaperone/engine/replay"
)

func run(t testing.TB, o replay.Options) *replay.Result {
	t.Helper()
	if o.Examples == 0 {
		o.Examples = 3
	}
	r, err := replay.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, why := range r.Unread {
		t.Error(why)
	}
	return r
}

// asRecorded makes n decisions of requests that are drawn at random, and decides each again from its record. At least so many of
// them have to be rankings: the others are refused.
func asRecorded(t *testing.T, n, rankings int, more, settings string) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	o := open(t, more, settings, 3)
	accepted := o.ask(t, rand.New(rand.NewPCG(seed, 0)), n)
	o.close(t)
	r := run(t, replay.Options{Dir: o.journal()})
	if !r.Same() {
		t.Errorf("%+v", r.Examples)
	}
	for _, u := range r.Undecidable {
		t.Errorf("%+v", u)
	}
	if r.Records < accepted || r.Verdicts < 2*n || r.Rankings < rankings {
		t.Errorf("only %d records, %d verdicts, %d rankings", r.Records, r.Verdicts, r.Rankings)
	}
	t.Logf("%d records, %d verdicts, %d rankings; %.0f verdicts a second", r.Records, r.Verdicts, r.Rankings, r.Speed())
}

func TestDecisionsComeOutTheSame(t *testing.T) {
	n, rankings := 170_000, 100_000
	if testing.Short() {
		n, rankings = 10_000, 5000
	}
	asRecorded(t, n, rankings, "", "")
}

// The reason of one rule is all that rules can read, so that verdicts agree only where the record holds the whole input.
func TestTheRecordHoldsAllThatPoliciesCanRead(t *testing.T) {
	asRecorded(t, 1000, 400, "\ndeny contains "+everything()+" if input.endpoint.provider == \"p5\"\n", "")
}
