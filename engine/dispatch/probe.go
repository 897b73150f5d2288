package dispatch

import (
	"context"
	"io"
	"net/http"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/provider"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// Probe carries a trial that Health.Probe has begun to its end, within limit: the row's provider is asked for its models, which
// says nothing of any client. Whoever does not offer that list, or not to this credential, answers all the same.
func (d *Dispatcher) Probe(ctx context.Context, row *catalog.Row, cred catalog.Credential, trial *telemetry.Trial, limit time.Duration) {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f := d.probe(within, row, cred)
	switch {
	case ctx.Err() != nil || f != nil && f.Kind == "not_sent":
		trial.Released()
	case f != nil && (kinds[f.Kind].health || f.Kind == "rate_limited"):
		trial.FailedProbe(time.Now(), f.Kind, f.Scope == OfCredential, f.RetryAfter)
	default:
		trial.Passed()
	}
}

func (d *Dispatcher) probe(ctx context.Context, row *catalog.Row, cred catalog.Credential) *Fault {
	dialect, err := provider.ByName(row.Dialect)
	if err != nil {
		return fault("not_sent", 0, "")
	}
	r, err := dialect.Probe(ctx, row, cred)
	if err != nil {
		return fault("not_sent", 0, "")
	}
	resp, err := d.kept.RoundTrip(r)
	switch {
	case ctx.Err() != nil:
		if resp != nil {
			resp.Body.Close()
		}
		return fault("timeout", 0, "")
	case err != nil:
		return fault("connect", 0, "")
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit)) // what came before an error is all there is to read
	return classify(resp.StatusCode, resp.Header, wire.ScanError(body), time.Now())
}
