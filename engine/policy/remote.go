package policy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/config"
)

// fetchTimeout bounds one request for a bundle.
const fetchTimeout = 30 * time.Second

// defaultPoll is how often a bundle server is asked where the source does not say.
const defaultPoll = time.Minute

// Bundles fetches the bundles of sources that are addresses, and keeps the last good one of each: a server that is gone, or
// that serves something which is refused, changes nothing. It outlives the sets that are loaded with it. Safe for concurrent use.
type Bundles struct {
	dir  string
	log  *slog.Logger
	now  func() time.Time
	wake chan struct{}

	mu        sync.Mutex
	remotes   map[string]*remote  // by what they are fetched with
	histories map[string]*history // by source and place
	active    []*remote           // those of the newest set
}

// NewBundles keeps good bundles in the folder dir too, for a start while their server is gone; "": in memory only.
func NewBundles(dir string, log *slog.Logger) *Bundles {
	if log == nil {
		log = slog.Default()
	}
	return &Bundles{dir: dir, log: log, now: time.Now, wake: make(chan struct{}, 1), remotes: map[string]*remote{}, histories: map[string]*history{}}
}

// history is what has been in force of a source; nil where its bundles need not be signed: then whoever can put one there can
// write any.
func (b *Bundles) history(sc sourceConfig, v *verification) *history {
	if v == nil {
		return nil
	}
	file := ""
	if b.dir != "" {
		file = filepath.Join(b.dir, bundleDigest([]byte(sc.Name + "\x00" + sc.shown()))[:24]+".history.json")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := sc.Name + "\x00" + sc.shown()
	if b.histories[key] == nil {
		b.histories[key] = readHistory(file)
	}
	return b.histories[key]
}

// BundleReport is how one bundle server is doing.
type BundleReport struct {
	Source string
	URL    string
	Digest string        // SHA-256 of the bundle in force, in hex
	Age    time.Duration // since the server last confirmed the bundle in force
	MaxAge time.Duration // 0: none
	Error  string        // of the last request; "": it went well
}

// Report is the state of every server that the newest set depends on.
func (b *Bundles) Report() []BundleReport {
	b.mu.Lock()
	active := slices.Clone(b.active)
	b.mu.Unlock()
	var all []BundleReport
	for _, r := range active {
		r.mu.Lock()
		report := BundleReport{Source: r.name, URL: r.url, Age: r.age(b.now()), MaxAge: r.maxAge, Error: r.failure}
		if r.good != nil {
			report.Digest = r.good.digest
		}
		r.mu.Unlock()
		all = append(all, report)
	}
	return all
}

// Poll asks the servers of the newest set, each in its own interval, until ctx ends. changed is called after a new bundle has
// come that was verified: the next Load takes it.
func (b *Bundles) Poll(ctx context.Context, changed func()) {
	for {
		wait := time.Hour
		b.mu.Lock()
		active := slices.Clone(b.active)
		b.mu.Unlock()
		for _, r := range active {
			wait = min(wait, max(0, time.Until(r.due())))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-b.wake:
			timer.Stop()
			continue
		case <-timer.C:
		}
		var group sync.WaitGroup
		var fresh atomic.Bool
		for _, r := range active {
			if time.Until(r.due()) <= 0 {
				group.Go(func() {
					if r.fetch(ctx, b) {
						fresh.Store(true)
					}
				})
			}
		}
		group.Wait()
		if fresh.Load() {
			changed()
		}
	}
}

// taken is a bundle that a Load took.
type taken struct {
	source  *source
	history *history // nil: it need not be signed
	remote  *remote  // its server; nil: it is on disk
	bundle  *fetched
}

// activate says which servers the newest set depends on, and that what it took of them is good.
func (b *Bundles) activate(used []taken) {
	var active []*remote
	for _, u := range used {
		if u.history != nil {
			if err := u.history.advance(u.source.digest, u.source.revision); err != nil {
				b.log.Warn("which bundle is in force could not be noted: after a restart an older one would not be told", slog.String("source", u.source.name), slog.Any("error", err))
			}
		}
		if u.remote != nil {
			u.remote.accept(b, u.bundle)
			active = append(active, u.remote)
		}
	}
	b.mu.Lock()
	b.active = active
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// remote is one bundle server as one source asks it.
type remote struct {
	name, url string
	verify    *verification
	history   *history // nil where nothing is verified
	token     string
	client    *http.Client
	poll      time.Duration
	maxAge    time.Duration
	file      string // where the good bundle is kept; "": nowhere

	confirmed atomic.Int64 // Unix nanoseconds: when the server last confirmed the good bundle; 0: never

	fetching  sync.Mutex // one request at a time
	mu        sync.Mutex
	good      *fetched // in force
	candidate *fetched // verified, and not yet loaded
	seen      string   // the ETag of what came last, whether good or refused
	refused   string   // the digest of what came last, where it was refused
	failure   string
	next      time.Time
}

// fetched is a bundle that has been verified.
type fetched struct {
	text   []byte
	digest string
	etag   string
	at     time.Time
	source *source
}

func (r *remote) due() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// age is how long ago the server confirmed the bundle in force.
func (r *remote) age(now time.Time) time.Duration {
	return now.Sub(time.Unix(0, r.confirmed.Load()))
}

// stale says why nothing may be decided by the bundle any more; "" where it may.
func (r *remote) stale(now time.Time) string {
	if r.maxAge == 0 || r.age(now) <= r.maxAge {
		return ""
	}
	return fmt.Sprintf("the bundle of source %q was last confirmed by its server %s ago, and max_age is %s", r.name, r.age(now).Round(time.Second), r.maxAge)
}

// fetch asks the server. It is true where something new and verified has come.
func (r *remote) fetch(ctx context.Context, b *Bundles) (fresh bool) {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	text, etag, err := r.get(ctx)
	now := b.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = time.Now().Add(time.Duration(float64(r.poll) * (0.9 + 0.2*rand.Float64()))) // so that routers do not ask all at once
	if err != nil {
		if r.failure != err.Error() && ctx.Err() == nil {
			b.log.Warn("a bundle server cannot be used; the last good bundle stays in force", slog.String("source", r.name), slog.String("url", r.url), slog.String("why", err.Error()))
		}
		r.failure = err.Error()
		return false
	}
	latest := r.good
	if r.candidate != nil {
		latest = r.candidate
	}
	if text == nil { // not modified since what came last
		if r.refused == "" {
			r.failure = ""
			if r.candidate == nil {
				r.confirm(now)
			}
		}
		return false
	}
	digest := bundleDigest(text)
	r.seen = etag
	switch {
	case latest != nil && digest == latest.digest:
		r.failure, r.refused, latest.etag = "", "", etag
		if latest == r.good {
			r.confirm(now)
		}
		return false
	case digest == r.refused:
		return false
	}
	src, problems := r.read(text)
	if len(problems) > 0 {
		r.failure, r.refused = problems.Error(), digest
		b.log.Error("a new bundle is refused; the last good one stays in force", slog.String("source", r.name), slog.String("url", r.url), slog.String("why", r.failure))
		return false
	}
	r.failure, r.refused = "", ""
	r.candidate = &fetched{text: text, digest: digest, etag: etag, at: now, source: src}
	return true
}

// read opens a bundle, and refuses one that is older than what has been in force.
func (r *remote) read(text []byte) (*source, config.Problems) {
	src, problems := readBundle(r.name, text, r.url, r.verify)
	if len(problems) == 0 && r.history != nil {
		if why := r.history.refuses(src.digest, src.revision); why != "" {
			problems = config.Problems{{File: r.url, Message: "the bundle is refused: " + why}}
		}
	}
	return src, problems
}

// get is the bundle and its ETag; text is nil where it has not been modified.
func (r *remote) get(ctx context.Context) (text []byte, etag string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, "", err
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	r.mu.Lock()
	seen := r.seen
	r.mu.Unlock()
	if seen != "" {
		req.Header.Set("If-None-Match", seen)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, "", fetchError(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && seen != "":
		return nil, seen, nil
	case resp.StatusCode != http.StatusOK:
		return nil, "", fmt.Errorf("the server answered %s; expected 200 and a bundle", resp.Status)
	}
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxBundleBytes+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("the bundle did not arrive whole: %w", err)
	case len(text) > maxBundleBytes:
		return nil, "", fmt.Errorf("the bundle has more than %d bytes", maxBundleBytes)
	}
	return text, resp.Header.Get("ETag"), nil
}

func fetchError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err // the address is shown already
	}
	return err
}

// newest is the source to load: what has come last, else what is kept, else what the server has.
func (r *remote) newest(ctx context.Context, b *Bundles) (*fetched, error) {
	have := func() *fetched {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.candidate != nil {
			return r.candidate
		}
		return r.good
	}
	if f := have(); f != nil {
		return f, nil
	}
	r.fetch(ctx, b)
	if f := have(); f != nil {
		return f, nil
	}
	if r.restore() {
		b.log.Warn("a bundle server is gone; the bundle kept on disk is used", slog.String("source", r.name), slog.String("url", r.url), slog.Duration("age", r.age(b.now())))
		return have(), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return nil, errors.New(r.failure)
}

// accept makes f, which a Load has taken, the good one.
func (r *remote) accept(b *Bundles, f *fetched) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.candidate != f {
		return // it is the good one already; a candidate that has come meanwhile is the next Load's
	}
	r.good, r.candidate = f, nil
	r.confirm(f.at)
	if r.file == "" {
		return
	}
	if err := writeWhole(r.file, f.text); err != nil {
		b.log.Warn("a good bundle could not be kept on disk", slog.String("source", r.name), slog.Any("error", err))
	}
}

// reject drops f, with which a Load has failed: it could be read, and its policies could not be loaded.
func (r *remote) reject(f *fetched, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.candidate != f || r.good == nil {
		return // without a good one there is nothing to go back to, and the next load shows the same mistakes
	}
	r.failure, r.refused, r.candidate = why.Error(), f.digest, nil
}

// confirm notes that at that moment the server had the good bundle. What is on disk says so too, as far as it can be
// written: an age that is too great is safe.
func (r *remote) confirm(at time.Time) {
	r.confirmed.Store(at.UnixNano())
	if r.file != "" {
		about, err := json.Marshal(kept{r.url, r.good.digest, r.good.etag, at.UTC()})
		if err == nil {
			_ = writeWhole(r.file+".json", about)
		}
	}
}

// kept is what stands beside a bundle on disk.
type kept struct {
	URL       string    `json:"url"`
	Digest    string    `json:"digest"`
	ETag      string    `json:"etag"`
	Confirmed time.Time `json:"confirmed"`
}

// writeWhole writes a private file whole or not at all.
func writeWhole(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// restore takes the bundle from disk, verifying it anew.
func (r *remote) restore() bool {
	if r.file == "" {
		return false
	}
	var about kept
	text, err := os.ReadFile(r.file)
	if err != nil {
		return false
	}
	if state, err := os.ReadFile(r.file + ".json"); err != nil || json.Unmarshal(state, &about) != nil || about.URL != r.url {
		return false
	}
	digest := bundleDigest(text)
	src, problems := r.read(text)
	if len(problems) > 0 || digest != about.Digest {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.good = &fetched{text: text, digest: digest, etag: about.ETag, source: src}
	r.seen = about.ETag
	r.confirmed.Store(about.Confirmed.UnixNano())
	return true
}

// remote is the server of sc, known from earlier loads where nothing about it has changed.
func (b *Bundles) remote(sc sourceConfig, v *verification, env func(string) (string, bool)) (*remote, config.Problems) {
	u, err := url.Parse(sc.Bundle)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, config.Problems{sc.Problem("bundle", "found %q; expected an address such as https://policies.example/bundle.tar.gz, without a user in it", sc.Bundle)}
	}
	r := &remote{name: sc.Name, url: sc.Bundle, verify: v, history: b.history(sc, v), poll: defaultPoll, client: &http.Client{
		Timeout: fetchTimeout,
		// A redirect would lead to a server that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if sc.Poll != nil {
		r.poll = *sc.Poll
	}
	if sc.MaxAge != nil {
		r.maxAge = *sc.MaxAge
	}
	var problems config.Problems
	read := func(key, name string) []byte {
		if name == "" {
			return nil
		}
		text, err := os.ReadFile(sc.beside(name))
		if err != nil {
			problems = append(problems, sc.Problem(key, "found %q: %s; expected a file", name, message(err)))
		}
		return text
	}
	switch {
	case sc.TokenEnv != "" && sc.TokenFile != "":
		problems = append(problems, sc.Problem("token_file", "token_env is set too; keep one"))
	case sc.TokenEnv != "":
		if r.token, _ = env(sc.TokenEnv); r.token == "" {
			problems = append(problems, sc.Problem("token_env", "the variable %s is not set", sc.TokenEnv))
		}
	case sc.TokenFile != "":
		r.token = strings.TrimSpace(string(read("token_file", sc.TokenFile)))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	ca := read("ca", sc.CA)
	if ca != nil {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(ca) {
			problems = append(problems, sc.Problem("ca", "found no certificate in %q; expected PEM", sc.CA))
		}
	}
	certificate, key := read("certificate", sc.Certificate), read("key", sc.Key)
	switch {
	case (sc.Certificate == "") != (sc.Key == ""):
		problems = append(problems, sc.Problem("certificate", "certificate and key belong together; found one of them"))
	case certificate != nil && key != nil:
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			problems = append(problems, sc.Problem("certificate", "cannot be used with key: %v", err))
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	if u.Scheme != "https" && !loopback(u.Hostname()) && (v == nil || r.token != "") {
		problems = append(problems, sc.Problem("bundle", "found %q: whoever is on the way could read the token or change the policies; use https://", sc.Bundle))
	}
	if len(problems) > 0 {
		return nil, problems
	}
	r.client.Transport = transport
	identity := fmt.Sprintf("%q %q %q %s %s %x %x %x", r.name, r.url, r.token, r.poll, r.maxAge, sha256.Sum256(ca), sha256.Sum256(certificate), sha256.Sum256(key))
	if v != nil {
		identity += fmt.Sprintf("%+v", *v)
	}
	if b.dir != "" {
		r.file = filepath.Join(b.dir, bundleDigest([]byte(r.name + "\x00" + r.url))[:24]+".tar.gz")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.remotes[identity]; known != nil {
		return known, nil
	}
	b.remotes[identity] = r
	return r, nil
}

func loopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}
