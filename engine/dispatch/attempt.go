package dispatch

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/bits"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/provider"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

var (
	errTooSlow = errors.New("no answer within the limit")
	errSilent  = errors.New("no event within the limit")
)

// errorBodyLimit is how much of a provider's error body is read.
const errorBodyLimit = 64 << 10

// What may follow the end of a stream, and for how long, for its connection to be kept.
const (
	lingerBytes = 4 << 10
	lingerTime  = 20 * time.Millisecond
)

// malformedLimit is how many events of one stream may be unreadable before the attempt ends.
const malformedLimit = 3

// leash ends an attempt. Timers hold it in place of the attempt: one that was stopped can stay with the runtime, and all that it
// refers to with it, until it would have fired.
type leash struct {
	cancel  context.CancelCauseFunc
	settled atomic.Bool // it has reached its commit point, or has been given up: whichever came first
}

// giveUp cancels an attempt unless it has reached its commit point: from there on the client has a part of its answer.
func (l *leash) giveUp(why error) {
	if l.settled.CompareAndSwap(false, true) {
		l.cancel(why)
	}
}

// after cancels the attempt when limit has passed, for why, if it is not stopped before.
func (l *leash) after(limit time.Duration, why error) *time.Timer {
	return time.AfterFunc(limit, func() { l.cancel(why) })
}

// attempt is one permit carried to one endpoint with one credential. All of its state is its own. It is opened on a goroutine
// of its own; before and after that it belongs to its run's.
type attempt struct {
	*leash
	run     *run
	option  *option
	purpose string
	patient Patience
	permit  policy.Permit
	row     *catalog.Row
	dialect provider.Dialect
	said    wire.Shape // what is sent and comes back
	cred    catalog.Credential
	fresh   bool // not by a connection that may have served before: the last one had gone stale
	trial   *telemetry.Trial
	request *http.Request
	sent    *sentBody
	timer   *time.Timer // cancels with errTooSlow until it is stopped
	idle    *time.Timer // cancels with errSilent; armed after the commit

	unusualAt time.Time // it takes longer than its endpoint usually does
	slowAt    time.Time // its first content is late
	late      bool      // a second attempt may run beside it

	started      time.Time
	ttft         time.Duration // 0: no content yet
	took         time.Duration
	status       int
	reused       atomic.Bool // the connection had served before
	firstByte    atomic.Bool
	shaking      atomic.Bool // the TLS handshake is under way
	body         io.ReadCloser
	events       *wire.EventReader
	reader       talk.EventReader // nil where the answer passes as it comes
	hides        bool             // reasoning, as the client has asked where its API and the provider's differ
	deltas       []talk.Delta     // what the event adds that was read last, where it does not
	writer       talk.EventWriter // of the stream that the client has, or will have of this attempt; nil: not streamed
	chunk        wire.Chunk
	usage        wire.Usage
	impossible   *wire.Usage // what the provider has counted that it cannot have; nil: nothing
	upstreamID   string      // the provider's own id of the answer; "": not said, or none that may be recorded
	identified   bool        // an id was said, whether or not it may be
	served       string      // the service tier that the provider says it served in; "" where it does not say
	finishReason string
	nativeReason string // "": the same
	finished     uint64 // choices that have a finish reason, as wire.Chunk has them
	begun        uint64 // and those that have output
	outputBytes  int
	malformed    int
	stopped      bool    // from this side, while its provider was at work
	out          []byte  // what is ready for the client: the whole answer, or the events up to the commit point
	held         []byte  // events that wait for that
	ended        bool    // the stream has come to its good end
	rescue       *rescue // nil where the attempt is none
	text         []byte  // of the answer so far, where it may have to be rescued; what was said before it included
	more         bool    // the answer so far is more than text
	fault        *Fault  // why it gave no answer, or no whole one

	label  talk.Label
	labels *wire.Labels
}

func (r *run) newAttempt(started time.Time, o *option, e *errand, p policy.Permit, who *account.Principal, cred catalog.Credential, trial *telemetry.Trial) (*attempt, *Fault) {
	row := p.Row()
	ctx, cancel := context.WithCancelCause(r.work)
	a := &attempt{run: r, option: o, patient: r.j.Patience(row.Model), permit: p, row: row, cred: cred, trial: trial, leash: &leash{cancel: cancel}, started: started}
	var err error
	if a.dialect, err = provider.ByName(row.Dialect); err == nil {
		a.said = a.dialect.Says(r.j.Plan.Request.Shape)
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn:              func(i httptrace.GotConnInfo) { a.reused.Store(i.Reused) },
			TLSHandshakeStart:    func() { a.shaking.Store(true) },
			TLSHandshakeDone:     func(_ tls.ConnectionState, err error) { a.shaking.Store(err != nil) },
			GotFirstResponseByte: func() { a.firstByte.Store(true) },
		})
		if a.rescue = e.rescue; a.continues() {
			a.text = append(a.text, e.rescue.said...)
			a.request, err = a.dialect.Continue(ctx, p, who, r.j.Plan.Request, cred, e.rescue.said, e.rescue.used)
		} else {
			a.request, err = a.dialect.Request(ctx, p, who, r.j.Plan.Request, cred)
		}
	}
	if err != nil {
		cancel(err)
		return nil, fault("not_sent", 0, err.Error())
	}
	a.sent = newSentBody(a.request.Body, a.request.ContentLength)
	a.request.Body = a.sent
	a.label = talk.Label{ID: r.j.Plan.ID, Model: row.Model.ID, Provider: row.Provider.Name, Created: r.j.Plan.At.Unix(), Asked: r.j.Plan.Request.Body}
	a.labels = wire.NewLabels(&a.label)
	a.hides = a.said != r.j.Plan.Request.Shape && r.j.Plan.Request.Talk().Reasoning.Exclude
	if r.stream != nil {
		a.prepare()
	}
	return a, nil
}

// prepare makes what reads and writes the events of a stream. Those of an answer that was begun elsewhere never pass as they
// come: they have to fit to what the client has.
func (a *attempt) prepare() {
	front := a.run.j.Plan.Request.Shape
	if a.rescue != nil {
		a.writer = a.run.writer
	} else {
		a.writer = front.NewWriter()
		a.writer.Serve(a.label)
	}
	if a.rescue != nil || a.said != front {
		a.reader = a.said.NewReader()
	}
}

// release lets go of the timers and the connection, which where a stream has come to its end may still serve another request: the
// run sees to that when the client has all.
func (a *attempt) release() {
	if a.took == 0 {
		a.took = time.Since(a.started)
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.idle != nil {
		a.idle.Stop()
	}
	if a.ended {
		a.run.ended = a
		return
	}
	a.hangUp()
}

func (a *attempt) hangUp() {
	a.cancel(nil)
	if a.body != nil {
		a.body.Close()
	}
}

// linger reads up to the end of the body, if that comes at once: only then the connection is kept.
func (a *attempt) linger() {
	defer a.after(lingerTime, nil).Stop()
	io.CopyN(io.Discard, a.body, lingerBytes) // an error ends it as well
	a.hangUp()
}

// within arms the timer of the attempt.
func (a *attempt) within(limit time.Duration) {
	l := a.leash
	a.timer = time.AfterFunc(limit, func() { l.giveUp(errTooSlow) })
}

// open carries the attempt to its commit point.
func (a *attempt) open(e *errand) {
	a.fault = a.run.contain("bad_answer", func() *Fault { return e.open(a) })
	if a.fault == nil && !a.settled.CompareAndSwap(false, true) {
		a.fault = a.broken(nil, "cut") // in the same moment it was given up
	}
}

// send gets a response with status 200, or the fault.
func (a *attempt) send() (*http.Response, *Fault) {
	by := a.run.d.kept
	if a.fresh {
		by = a.run.d.fresh
	}
	resp, err := by.RoundTrip(a.request)
	if err != nil {
		return nil, a.broken(err, "connect")
	}
	a.body, a.status = resp.Body, resp.StatusCode
	now := time.Now()
	headroom := provider.Headroom(resp.Header, now)
	a.trial.Learn(headroom, now)
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	var said *wire.UpstreamError
	if plain, err := decoded(resp); err == nil {
		body, _ := io.ReadAll(io.LimitReader(plain, errorBodyLimit)) // what came before an error is all there is to read
		said = wire.ScanError(body)
	}
	f := classify(resp.StatusCode, resp.Header, said, now)
	if f.Kind == "rate_limited" && f.RetryAfter == 0 {
		f.RetryAfter = min(headroom.Wait(a.run.tokens, now), maxRetryAfter)
	}
	return nil, a.scrubbed(f)
}

// broken is the fault of a failed round trip or read.
func (a *attempt) broken(err error, otherwise string) *Fault {
	switch cause := context.Cause(a.request.Context()); {
	case a.run.gone():
		return a.hungUp("cancelled")
	case errors.Is(cause, errTooSlow):
		return a.hungUp("timeout")
	case errors.Is(cause, errSilent):
		return a.hungUp("idle")
	case errors.Is(cause, errSlow):
		return a.hungUp("slow")
	case errors.Is(cause, errOutpaced):
		return a.hungUp("outpaced")
	case errors.Is(cause, errDeadline):
		return a.hungUp("deadline")
	}
	switch {
	case otherwise == "connect" && a.shaking.Load():
		return fault("tls", 0, "")
	case otherwise == "connect" && a.reused.Load() && !a.firstByte.Load():
		return fault("stale", 0, "")
	}
	return fault(otherwise, a.status, "")
}

// hungUp is the fault of an attempt that was ended from this side. A provider that had the whole request was at work on it.
func (a *attempt) hungUp(kind string) *Fault {
	a.stopped = a.sent.extent() == "all"
	return fault(kind, a.status, "")
}

// leastSecret is how much of a secret, from its start, is still one.
const leastSecret = 8

// scrubbed takes every secret of the row's credentials, whole or cut short, out of a provider's words, and what they repeat of the
// prompt.
func (a *attempt) scrubbed(f *Fault) *Fault {
	defer func() { f.Message = a.run.j.Plan.Request.HideQuotes(f.Message) }()
	for _, c := range a.row.Group.Credentials {
		secret := c.Secret.Reveal()
		if len(secret) < leastSecret {
			if secret != "" {
				f.Message = strings.ReplaceAll(f.Message, secret, "[redacted]")
			}
			continue
		}
		for {
			at := strings.Index(f.Message, secret[:leastSecret])
			if at < 0 {
				break
			}
			end := at + leastSecret
			for end < len(f.Message) && end-at < len(secret) && f.Message[end] == secret[end-at] {
				end++
			}
			f.Message = f.Message[:at] + "[redacted]" + f.Message[end:]
		}
	}
	return f
}

// note adds what a chunk, which was scanned from data, says to what is known of the answer.
func (a *attempt) note(data []byte) {
	a.count(a.chunk.Usage)
	if !a.identified {
		if id := a.chunk.ID(data, longestID); id != "" {
			a.upstreamID, a.identified = a.identifier(id), true
		}
	}
	if a.chunk.ServiceTier != "" {
		a.served = recordable(a.chunk.ServiceTier)
	}
	if a.chunk.FinishReason != "" {
		a.finishReason, a.nativeReason = recordable(a.chunk.FinishReason), recordable(a.chunk.NativeReason)
		a.finished |= a.chunk.Finished
	}
	a.outputBytes += a.chunk.OutputBytes
	a.begun |= a.chunk.Begun
}

// longestReason is longer than any word that a provider has for why an answer ended.
const longestReason = 40

// recordable is such a word, as records keep it: what is none may be anything, a prompt or a key included.
func recordable(reason string) string {
	inWord := func(c rune) bool {
		return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
	}
	if len(reason) > longestReason || strings.ContainsFunc(reason, func(c rune) bool { return !inWord(c) }) {
		return "other"
	}
	return reason
}

// longestID is longer than any id that a provider gives an answer.
const longestID = 128

// leastRepeated is how long a part of an id has to be to have come from the request: shorter ones are words that both happen to use.
const leastRepeated = 12

// identifier is such an id, as records keep it: likewise, what is none, or has a part that repeats the request or a key, is left out.
func (a *attempt) identifier(id string) string {
	joins := func(c rune) bool { return strings.ContainsRune("-_.:/+=~", c) }
	foreign := func(c rune) bool {
		return (c < '0' || '9' < c) && (c|0x20 < 'a' || 'z' < c|0x20) && !joins(c)
	}
	repeats := func(part string) bool { return bytes.Contains(a.run.j.Plan.Request.Body, []byte(part)) }
	if strings.ContainsFunc(id, foreign) || len(id) >= leastSecret && repeats(id) {
		return ""
	}
	for part := range strings.FieldsFuncSeq(id, joins) {
		if len(part) >= leastRepeated && repeats(part) {
			return ""
		}
	}
	for _, c := range a.row.Group.Credentials {
		if secret := c.Secret.Reveal(); secret != "" && strings.Contains(id, secret[:min(len(secret), leastSecret)]) {
			return ""
		}
	}
	return id
}

// complete says whether every choice has its finish reason.
func (a *attempt) complete() bool {
	return bits.OnesCount64(a.finished) >= int(min(max(a.run.j.Plan.Request.N, 1), 64))
}

// outputTokens is what the provider counted, or an estimate where it said nothing.
func (a *attempt) outputTokens() int64 {
	if a.usage.Known {
		return a.usage.CompletionTokens
	}
	tokens := wire.EstimateTokens(a.outputBytes)
	if limit := a.run.outputLimit(a.permit); limit > 0 {
		tokens = min(tokens, catalog.Product(limit, max(a.run.j.Plan.Request.N, 1)))
	}
	return tokens
}

// farOver is how many times what an answer may have a provider's count of it may be: providers count differently, and the last
// event may go beyond.
const farOver = 2

// count takes in what the provider says that it has counted. What it cannot have counted says nothing: an estimate takes its
// place.
func (a *attempt) count(said wire.Usage) {
	if a.impossible != nil {
		return
	}
	a.usage.Note(said)
	u, req := &a.usage, a.run.j.Plan.Request
	// A token is at least a byte of the request, and what else a prompt has, images too, goes into the context.
	prompt := max(a.row.ContextLength, int64(len(req.Body)))
	most := a.row.MaxOutputTokens
	if most == 0 {
		most = a.row.ContextLength
	}
	if limit := a.run.outputLimit(a.permit); limit > 0 && !a.row.Parameters["reasoning"] && u.ReasoningTokens == 0 {
		most = min(most, limit) // some count what was thought beside it
	}
	if a.continues() {
		most += a.rescue.used
	}
	completion := farOver * max(most, leastTokens) * max(req.N, 1)
	if max(u.PromptTokens, u.CachedTokens, u.CacheWriteTokens, u.CacheWrite1hTokens, u.AudioTokens) > prompt || max(u.CompletionTokens, u.ReasoningTokens) > completion {
		impossible := *u
		a.impossible, a.usage = &impossible, wire.Usage{}
	}
}

// leastTokens is what is believed of any answer: some providers count a few tokens more than were asked for.
const leastTokens = 64

// estimated is the usage of an answer whose provider has not said all of it.
func (a *attempt) estimated() wire.Usage {
	u := a.usage
	if u.PromptTokens == 0 {
		u.PromptTokens = a.run.j.Plan.Request.PromptTokens
	}
	u.CompletionTokens = a.outputTokens()
	return u
}

// cost is what the attempt is billed: by the provider's own count, or by estimate where output came without one, or the attempt
// was ended from this side: what was made by then is billed, and of it only the prompt and what has come are known.
func (a *attempt) cost() catalog.Picodollars {
	u := a.usage
	if !u.Known {
		if a.outputBytes == 0 && !a.stopped {
			return 0
		}
		u = a.estimated()
	}
	return a.billed().Bill(u, a.run.j.Plan.Request.Images, a.started)
}

// billed is the row whose prices hold: that of the service tier that the provider says it has served in, which may be another
// than it was asked for (https://developers.openai.com/api/docs/guides/priority-processing).
func (a *attempt) billed() *catalog.Row {
	tier := a.tier()
	if tier == "default" {
		tier = ""
	}
	if a.served == "" || tier == a.row.ServiceTier {
		return a.row
	}
	for _, r := range a.row.Model.Rows {
		if r.ServiceTier == tier && r.Provider == a.row.Provider && r.Group == a.row.Group && r.UpstreamModel == a.row.UpstreamModel && r.BaseURL == a.row.BaseURL {
			return r
		}
	}
	return a.row
}

// tier is the service tier that served: by the provider's word, else the endpoint's, else the standard one where the request
// asks for any; "" else.
func (a *attempt) tier() string {
	switch {
	case a.served == "fast":
		return "priority"
	case catalog.IsServiceTier(a.served):
		return a.served
	case a.served == "" && a.row.ServiceTier != "":
		return a.row.ServiceTier
	case a.served != "" || a.run.j.Plan.Request.ServiceTier != "":
		return "default"
	}
	return ""
}

// sentBody counts what the transport has taken of a request body, and lets go of it when that has all: the connection holds
// its request for as long as the answer lasts.
type sentBody struct {
	inner atomic.Pointer[io.ReadCloser] // nil once it is closed
	size  int64
	taken atomic.Int64 // the transport reads on a goroutine of its own
}

func newSentBody(body io.ReadCloser, size int64) *sentBody {
	b := &sentBody{size: size}
	b.inner.Store(&body)
	return b
}

func (b *sentBody) Read(p []byte) (int, error) {
	inner := b.inner.Load()
	if inner == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := (*inner).Read(p)
	b.taken.Add(int64(n))
	return n, err
}

func (b *sentBody) Close() error {
	if inner := b.inner.Swap(nil); inner != nil {
		return (*inner).Close()
	}
	return nil
}

// extent says how much a provider may have seen: the transport may still have held some of it back.
func (b *sentBody) extent() string {
	switch taken := b.taken.Load(); {
	case taken == 0:
		return "none"
	case taken < b.size:
		return "part"
	}
	return "all"
}
