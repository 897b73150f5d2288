package chaos

import (
	"time"

	"chaperone/engine"
)

// rehearse has a configuration leave no trace (no journal on disk, no ledger, no plugin's memory, nothing that replicas are told)
// and pass so many times faster.
func rehearse(s *engine.Settings, speed int) {
	s.Journal, s.Ledger, s.Replicas = engine.Journal{Keep: 100}, engine.Ledger{}, engine.Replicas{}
	for i := range s.Scorers {
		s.Scorers[i].State = ""
	}
	hurry := func(d *time.Duration) {
		if d != nil && *d > 0 {
			*d = max(*d/time.Duration(speed), time.Millisecond)
		}
	}
	t := &s.Timeouts
	for _, d := range []*time.Duration{&t.FirstByte, &t.TTFT, &t.Answer, &t.Idle, &t.Total, &t.EarlyHeaders, &t.KeepAlive, &s.Dispatch.Backoff, &s.Dispatch.RetryAfterWait} {
		hurry(d)
	}
	for _, o := range s.Dispatch.Overrides {
		for _, d := range []*time.Duration{o.FirstByte, o.TTFT, o.Answer, o.Idle, o.Total, o.RetryAfterWait} {
			hurry(d)
		}
	}
}

func hurried(f Fault, speed int) Fault {
	f.fault.Delay /= time.Duration(speed)
	f.fault.RetryAfter /= time.Duration(speed)
	f.fault.Share = 1
	return f
}
