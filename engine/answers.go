package engine

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"chaperone/engine/dispatch"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/wire"
)

// CacheWish is what a request's header wants of the response cache
// (https://openrouter.ai/docs/guides/features/response-caching).
type CacheWish struct {
	Asked   bool // X-OpenRouter-Cache was sent; where not, a preset may decide
	Enabled bool
	TTL     time.Duration // X-OpenRouter-Cache-TTL; 0: not sent
	Clear   bool          // X-OpenRouter-Cache-Clear: what is kept is thrown away and asked for anew
}

// answers are whole answers in memory, for requests that are asked again word for word and allow it. Each belongs to one API
// key and one generation of policies and catalog. It is only given out after a plan was made anew whose permits have the row that
// answered, under the same obligations. The least used go when it is full.
type answers struct {
	most int64 // bytes

	mu    sync.Mutex
	bytes int64
	kept  map[[32]byte]*list.Element // of *answer
	used  list.List                  // the latest first
}

// answer is one that was given, as it is given again: without usage, which is nobody's twice.
type answer struct {
	key         [32]byte
	body        []byte // with the source's id
	source      string // the id of the decision that it was made under
	row         string // id
	obligations policy.Obligations
	at          time.Time
	ttl         time.Duration
	provider    string
	model       string
	finish      string
	native      string
}

// overhead is about what an entry takes besides its body.
const overhead = 512

func newAnswers(most int64) *answers {
	return &answers{most: most, kept: map[[32]byte]*list.Element{}}
}

func (a *answers) get(key [32]byte, now time.Time) *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.kept[key]
	if e == nil {
		return nil
	}
	found := e.Value.(*answer)
	if !now.Before(found.at.Add(found.ttl)) {
		a.remove(e)
		return nil
	}
	a.used.MoveToFront(e)
	return found
}

func (a *answers) put(n *answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.kept[n.key]; e != nil {
		a.remove(e)
	}
	size := int64(len(n.body) + overhead)
	if size > a.most {
		return
	}
	a.kept[n.key] = a.used.PushFront(n)
	for a.bytes += size; a.bytes > a.most; {
		a.remove(a.used.Back())
	}
}

func (a *answers) drop(key [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.kept[key]; e != nil {
		a.remove(e)
	}
}

func (a *answers) remove(e *list.Element) {
	gone := a.used.Remove(e).(*answer)
	delete(a.kept, gone.key)
	a.bytes -= int64(len(gone.body) + overhead)
}

// answerKey is what two requests have in common that one answer may serve: key, API, what of the header reaches a provider, generation, and the body
// but for the order of its keys and white space.
func answerKey(p *route.Plan) (key [32]byte, ok bool) {
	d := json.NewDecoder(bytes.NewReader(p.Request.Body))
	d.UseNumber()
	var body any
	if d.Decode(&body) != nil {
		return key, false
	}
	same, err := json.Marshal(body) // with sorted keys
	if err != nil {
		return key, false
	}
	head, err := json.Marshal(p.Request.Head)
	if err != nil {
		return key, false
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(p.Principal.Key.ID), []byte(p.Request.Shape), binary.BigEndian.AppendUint64(nil, p.Snapshot), head, same} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return [32]byte(h.Sum(nil)), true
}

// wish is what the response cache is to do for a request: what its header says, or else its preset.
func (e *Engine) wish(c Call, d decided) wished {
	w := wished{CacheWish: c.Cache}
	if p := d.preset; p != nil {
		if !w.Asked && p.Cache != nil {
			w.Enabled = *p.Cache
		}
		if w.TTL == 0 {
			w.TTL = p.CacheTTL
		}
	}
	if w.TTL == 0 {
		w.TTL = d.settings.ResponseCache.TTL
	}
	w.Enabled = w.Enabled && e.answers.most > 0 && !d.plan.Request.Preferences.ZDR && !d.plan.Request.Shape.Counts()
	if w.Enabled {
		w.key, w.Enabled = answerKey(d.plan)
	}
	return w
}

type wished struct {
	CacheWish
	key [32]byte
}

// again answers with what is kept, if there is something and the plan permits the row that gave it; nil where not. A hit is
// recorded as one: it costs nothing, and no provider has seen it.
func (e *Engine) again(w wished, job dispatch.Job, began time.Time) *dispatch.Response {
	if w.Clear {
		e.answers.drop(w.key)
		return nil
	}
	p, now := job.Plan, e.options.Now()
	kept := e.answers.get(w.key, now)
	if kept == nil || !kept.permitted(p) {
		return nil
	}
	rec := journal.Of(p)
	rec.Outcome = journal.Outcome{
		Status: http.StatusOK, Provider: kept.provider, Model: kept.model, Row: kept.row, FinishReason: kept.finish, NativeReason: kept.native, CachedFrom: kept.source,
		DurationMs: float64(time.Since(began)) / float64(time.Millisecond),
	}
	body := bytes.ReplaceAll(kept.body, []byte(kept.source), []byte(p.ID))
	job.Finish(rec)
	if job.Answered != nil {
		job.Answered(body)
	}
	resp := &dispatch.Response{Plan: p, Status: http.StatusOK, Body: body}
	if p.Request.Stream {
		resp = dispatch.Again(body, job)
	}
	resp.Timing = dispatch.Timing(p, 0)
	resp.Cache = dispatch.Cache{Status: "HIT", Source: kept.source, Age: now.Sub(kept.at), TTL: kept.ttl}
	return resp
}

// keeper keeps an answer where the permit that it was made under lets it. record is that of the request, once it is over.
func (e *Engine) keeper(w wished, p *route.Plan, record **journal.Record) func([]byte, policy.Permit) {
	return func(body []byte, permit policy.Permit) {
		o := permit.Obligations()
		// Of another generation than the plan's, it would be found by what was not judged alike.
		if !keepable(p.Request, o) || permit.Generation() != p.Snapshot {
			return
		}
		outcome := &(*record).Outcome
		kept := &answer{
			key: w.key, source: p.ID, row: permit.Row().ID, obligations: o, at: e.options.Now(), ttl: w.TTL,
			provider: outcome.Provider, model: outcome.Model, finish: outcome.FinishReason, native: outcome.NativeReason,
		}
		if kept.body = wire.ZeroUsage(body); p.Request.Stream {
			kept.body = zeroEvents(body)
		}
		e.answers.put(kept)
	}
}

// zeroEvents is wire.ZeroUsage of each event's data.
func zeroEvents(events []byte) []byte {
	out := make([]byte, 0, len(events))
	for line := range bytes.Lines(events) {
		data, found := bytes.CutPrefix(line, []byte("data: {"))
		if !found || !bytes.Contains(data, []byte(`"usage"`)) {
			out = append(out, line...)
			continue
		}
		out = append(append(out, "data: "...), wire.ZeroUsage(line[len("data: "):])...)
	}
	return out
}

// keepable says whether policy and the request let an answer under these obligations be kept.
func keepable(req *wire.Request, o policy.Obligations) bool {
	return !o.NoCache && !o.ZDR && o.Log != policy.LogNone && !req.Preferences.ZDR
}

// permitted says whether the row that gave an answer may give it now, under what was demanded of it then.
func (n *answer) permitted(p *route.Plan) bool {
	for _, permit := range p.Permits {
		if permit.Row().ID == n.row {
			return permit.Obligations() == n.obligations && keepable(p.Request, n.obligations)
		}
	}
	return false
}
