package engine

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"sync"
	"time"

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
