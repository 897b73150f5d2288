package engine

import (
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaperone/engine/admission"
	"chaperone/engine/config"
	"chaperone/engine/journal"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wasm"
)

// Settings is chaperone.toml without what other packages read of it.
type Settings struct {
	Include []string
	Catalog []string
	// ShippedCatalog lays the catalog files over the one that ships with Chaperone.
	ShippedCatalog bool
	Server         Server
	Timeouts       Timeouts
	Routing        Routing
	Dispatch       Dispatch
	Load           Load
	ResponseCache  ResponseCache
	Statistics     Statistics
	Journal        Journal
	Ledger         Ledger
	Replicas       Replicas
	Plugins        Plugins
	Scorers        []Scorer
}

// Server is [server].
type Server struct {
	Listen         string        `toml:"listen"`
	PrivateListen  string        `toml:"private_listen"`                  // /metrics, pprof, health; "" switches it off
	TLSCertificate string        `toml:"tls_certificate"`                 // PEM file; with tls_key switches TLS on
	TLSKey         string        `toml:"tls_key"`                         // PEM file
	MaxBodyBytes   int           `toml:"max_body_bytes" check:"min=1024"` // of a request
	MaxHeaderBytes int           `toml:"max_header_bytes" check:"min=1024"`
	MaxConnections int           `toml:"max_connections" check:"min=1"`
	ReadTimeout    time.Duration `toml:"read_timeout" check:"min=1ms"`  // of one request, header and body
	FlushTimeout   time.Duration `toml:"flush_timeout" check:"min=1ms"` // of one write to the client
	IdleTimeout    time.Duration `toml:"idle_timeout" check:"min=1ms"`  // of a kept connection between requests
	DrainDelay     time.Duration `toml:"drain_delay" check:"min=0s"`    // after SIGTERM: readyz says no, requests are still taken
	DrainTimeout   time.Duration `toml:"drain_timeout" check:"min=0s"`  // after that: how long requests in flight may take
}

// Timeouts is [timeouts]; dispatch.Limits says what each bounds.
type Timeouts struct {
	Connect      time.Duration `toml:"connect" check:"min=1ms"`
	TLS          time.Duration `toml:"tls" check:"min=1ms"`
	FirstByte    time.Duration `toml:"first_byte" check:"min=1ms"`
	TTFT         time.Duration `toml:"ttft" check:"min=1ms"`
	Answer       time.Duration `toml:"answer" check:"min=1ms"`
	Idle         time.Duration `toml:"idle" check:"min=1ms"`
	Total        time.Duration `toml:"total" check:"min=1ms"`
	EarlyHeaders time.Duration `toml:"early_headers" check:"min=1ms"`
	KeepAlive    time.Duration `toml:"keep_alive" check:"min=1ms"`
}

// Routing is [routing].
type Routing struct {
	ValueOfTime    float64 `toml:"value_of_time" check:"min=0"` // USD an hour
	Temperature    float64 `toml:"temperature" check:"min=0"`
	Exploration    float64 `toml:"exploration" check:"min=0,max=0.5"`
	Attempts       int     `toml:"attempts" check:"min=1"`
	MaxAnswerBytes int     `toml:"max_answer_bytes" check:"min=1024"`
	// StickyFor is how long a conversation stays with the endpoint that holds its prompt, from its last answer on; longer where
	// the catalog or the request says that the provider keeps it longer.
	StickyFor           time.Duration `toml:"sticky_for" check:"min=0s"`
	StickyConversations int           `toml:"sticky_conversations" check:"min=0"` // remembered at a time; 0: none
	// UpstreamUser is what providers are told for a request's user: a pseudonym, the name as it came, or nothing.
	UpstreamUser string `toml:"upstream_user" check:"oneof=hash|plain|none"`
}

// Dispatch is [dispatch]; dispatch.Limits says what each means.
type Dispatch struct {
	OnSlow         string        `toml:"on_slow" check:"oneof=switch|hedge|wait"`
	Backoff        time.Duration `toml:"backoff" check:"min=1ms"`
	RetryAfterWait time.Duration `toml:"retry_after_wait" check:"min=0s"`
	RetryBudget    float64       `toml:"retry_budget" check:"min=0,max=100"` // percent of requests
	Hedge          bool          `toml:"hedge"`
	HedgeBudget    float64       `toml:"hedge_budget" check:"min=0,max=100"` // percent of requests
	Rescue         []string      `toml:"rescue" check:"oneof=continue|splice"`
	MaxCost        float64       `toml:"max_cost" check:"min=0"` // USD a request; 0: no limit
	Breaker        Breaker       `toml:"breaker"`
	Overrides      []*Override   `toml:"overrides"`
}

// Breaker is [dispatch.breaker]; telemetry.Breaker says what each means.
type Breaker struct {
	Failures int           `toml:"failures" check:"min=1"`
	Rate     float64       `toml:"rate" check:"min=0.01,max=1"`
	Attempts int           `toml:"attempts" check:"min=1"`
	Window   time.Duration `toml:"window" check:"min=10ms"`
	CoolDown time.Duration `toml:"cool_down" check:"min=1ms"`
	Probe    bool          `toml:"probe"`
}

// Load is [load]: how many requests may be in flight, and how those over it wait. 0: any number.
type Load struct {
	InFlight             int           `toml:"in_flight" check:"min=0"`
	InFlightOrganisation int           `toml:"in_flight_organisation" check:"min=0"` // of one that has no in_flight of its own
	InFlightEndpoint     int           `toml:"in_flight_endpoint" check:"min=0"`     // likewise
	Queue                int           `toml:"queue" check:"min=0"`                  // requests that may wait for the router, and for each endpoint
	QueueWait            time.Duration `toml:"queue_wait" check:"min=0s"`
}

// ResponseCache is [response_cache].
type ResponseCache struct {
	MaxBytes      int64         `toml:"max_bytes" check:"min=0"` // of answers in memory; 0: none are kept
	MaxEntryBytes int           `toml:"max_entry_bytes" check:"min=1024"`
	TTL           time.Duration `toml:"ttl" check:"min=1s,max=24h"` // where the request does not say
}

// Statistics is [statistics].
type Statistics struct {
	Window time.Duration `toml:"window" check:"min=1ms"`
	Tick   time.Duration `toml:"tick" check:"min=1ms"`
}

// Journal is [journal].
type Journal struct {
	Keep           int           `toml:"keep" check:"min=1"` // decisions kept in memory
	Dir            string        `toml:"dir"`                // "": memory is all there is
	Fsync          string        `toml:"fsync" check:"oneof=never|interval|always"`
	OnFull         string        `toml:"on_full" check:"oneof=stop|drop"`
	SegmentBytes   int64         `toml:"segment_bytes" check:"min=65536,max=1073741824"`
	SegmentAge     time.Duration `toml:"segment_age" check:"min=1s"`
	Retention      time.Duration `toml:"retention" check:"min=0s"` // 0: for ever
	AnchorURL      string        `toml:"anchor_url"`               // gets every checkpoint
	AnchorCommand  []string      `toml:"anchor_command"`           // likewise, on its standard input
	TimestampURL   string        `toml:"timestamp_url"`            // of an authority that stamps the newest checkpoint
	TimestampEvery time.Duration `toml:"timestamp_every" check:"min=1s"`

	ContentDir       string        `toml:"content_dir"`                      // of organisations with log_content
	ContentRetention time.Duration `toml:"content_retention" check:"min=0s"` // 0: for ever

	DecisionLogURL      string `toml:"decision_log_url"`       // a collector of OPA's decision logs
	DecisionLogTokenEnv string `toml:"decision_log_token_env"` // environment variable with a bearer token for it
}

// Ledger is [ledger]; there is one where journal.dir is set.
type Ledger struct {
	Database    string        `toml:"database"`                 // SQLite file, or postgres://…; "": ledger.sqlite in the journal's folder
	DatabaseEnv string        `toml:"database_env"`             // in its place: environment variable with the address
	Retention   time.Duration `toml:"retention" check:"min=0s"` // of single generations; 0: for ever
}

// Replicas is [replicas]: routers that share what they know of the health of endpoints and credentials.
type Replicas struct {
	Peers    []string `toml:"peers"`     // private listeners of the others: http://10.0.0.2:9090
	TokenEnv string   `toml:"token_env"` // environment variable with the bearer token that all of them have
}

// Plugins is [plugins].
type Plugins struct {
	TrustedKeys map[string]string `toml:"trusted_keys"` // name → Ed25519 public key in hex; where there are any, modules must be signed
	CacheDir    string            `toml:"cache_dir"`    // private folder for compiled modules; "": memory
}

// trusted are the keys; readSettings has found them to be such.
func (p *Plugins) trusted() wasm.TrustedKeys {
	keys := wasm.TrustedKeys{}
	for name, text := range p.TrustedKeys {
		keys[name], _ = wasm.ParsePublicKey(text)
	}
	return keys
}

// Scorer is one [[scorers]]: a native one by its name, or a plugin.
type Scorer struct {
	config.Origin
	Name   string         `toml:"name" check:"required"`
	Weight *float64       `toml:"weight" check:"min=0"` // 1 where it is not written
	Plugin string         `toml:"plugin"`               // .wasm file, relative to the TOML file
	SHA256 string         `toml:"sha256"`               // pin of the plugin's bytes, hex
	Config map[string]any `toml:"config"`               // handed to the plugin as JSON
	Golden string         `toml:"golden"`               // golden vectors that the plugin must reproduce to be used
	State  string         `toml:"state"`                // file that keeps what a stateful plugin learns across restarts
	Fuel   wasm.Fuel      `toml:"fuel"`                 // the most instructions of each call; wasm.DefaultFuel where 0

	Instances   int           `toml:"instances" check:"min=0,max=1024"`          // of a plugin, for calls at once; 0: one a processor, at most 8
	Wait        time.Duration `toml:"wait" check:"min=0s"`                       // for one of them while all are in use; 0: 10 ms
	MemoryBytes int64         `toml:"memory_bytes" check:"min=0,max=4294967296"` // of each; 0: 4 MiB, with WASI 64 MiB
	CodeBytes   int           `toml:"code_bytes" check:"min=0,max=33554432"`     // of a module's functions; 0: 8 MiB

	Shadow   bool `toml:"shadow"`   // ranks beside the others, is recorded and moves nothing
	Disabled bool `toml:"disabled"` // as if it were not there: its module is not even read
}

func defaults() *Settings {
	return &Settings{
		Server: Server{
			Listen: "127.0.0.1:8080", PrivateListen: "127.0.0.1:9090",
			MaxBodyBytes: 32 << 20, MaxHeaderBytes: 16 << 10, MaxConnections: 10_000,
			ReadTimeout: 30 * time.Second, FlushTimeout: 30 * time.Second, IdleTimeout: 90 * time.Second,
			DrainDelay: 2 * time.Second, DrainTimeout: 10 * time.Minute,
		},
		Timeouts: Timeouts{
			Connect: 5 * time.Second, TLS: 5 * time.Second, FirstByte: time.Minute, TTFT: 30 * time.Second, Answer: 5 * time.Minute, Idle: 30 * time.Second,
			Total: 10 * time.Minute, EarlyHeaders: 10 * time.Second, KeepAlive: 15 * time.Second,
		},
		Routing: Routing{
			ValueOfTime: 1, Temperature: scorer.DefaultSpread.Temperature, Exploration: scorer.DefaultSpread.Exploration,
			Attempts: 10, MaxAnswerBytes: 32 << 20, StickyFor: 10 * time.Minute, StickyConversations: 100_000, UpstreamUser: "hash",
		},
		Dispatch: Dispatch{
			OnSlow: "switch", Backoff: 200 * time.Millisecond, RetryBudget: 20, HedgeBudget: 5,
			Rescue:  []string{journal.ForContinue, journal.ForSplice},
			Breaker: Breaker{Failures: 5, Rate: 0.5, Attempts: 20, Window: 30 * time.Second, CoolDown: 6 * time.Second},
		},
		Load:          Load{InFlight: 8000, Queue: 1000, QueueWait: 10 * time.Second},
		ResponseCache: ResponseCache{MaxBytes: 64 << 20, MaxEntryBytes: 1 << 20, TTL: 5 * time.Minute},
		Statistics:    Statistics{Window: 5 * time.Minute, Tick: time.Second},
		Journal:       Journal{Keep: 10_000, Fsync: "interval", OnFull: "stop", SegmentBytes: 64 << 20, SegmentAge: 24 * time.Hour, TimestampEvery: time.Hour, ContentRetention: 30 * 24 * time.Hour},
	}
}

// sections are the top-level keys of chaperone.toml, whoever reads them.
var sections = []string{"include", "catalog", "shipped_catalog", "server", "timeouts", "routing", "dispatch", "load", "response_cache", "statistics", "journal", "ledger", "replicas", "plugins", "scorers", "policy",
	"organisations", "keys", "presets", "providers", "models", "endpoints", "aliases"}

// teamSections are those of an included file: it speaks for one team and can only tighten.
var teamSections = []string{"organisation", "team", "policy"}

// catalogSections are those of a catalog file.
var catalogSections = []string{"providers", "models", "endpoints", "aliases"}

func isAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func readSettings(doc *config.Document) (*Settings, config.Problems) {
	s := defaults()
	var all config.Problems
	for name, into := range map[string]any{
		"include": &s.Include, "catalog": &s.Catalog, "shipped_catalog": &s.ShippedCatalog, "server": &s.Server, "timeouts": &s.Timeouts, "routing": &s.Routing, "dispatch": &s.Dispatch, "load": &s.Load, "response_cache": &s.ResponseCache,
		"statistics": &s.Statistics, "journal": &s.Journal, "ledger": &s.Ledger, "replicas": &s.Replicas, "plugins": &s.Plugins, "scorers": &s.Scorers,
	} {
		all = append(all, doc.Decode(name, into)...)
	}
	if (s.Server.TLSCertificate == "") != (s.Server.TLSKey == "") {
		all = append(all, doc.Problem("server", "has one of tls_certificate and tls_key; TLS needs both"))
	}
	for key, address := range map[string]string{"listen": s.Server.Listen, "private_listen": s.Server.PrivateListen} {
		if !isAddress(address) && (key == "listen" || address != "") {
			all = append(all, doc.Problem("server."+key, "found %q; expected an address and a port up to 65535, such as 127.0.0.1:8080", address))
		}
	}
	if l := s.Server.PrivateListen; l != "" && l == s.Server.Listen && !strings.HasSuffix(l, ":0") {
		all = append(all, doc.Problem("server.private_listen", "is the public address %s; give it another, or \"\" to switch it off", s.Server.Listen))
	}
	if s.Statistics.Tick > s.Statistics.Window {
		all = append(all, doc.Problem("statistics.tick", "found %s, longer than the window of %s; expected a shorter one", s.Statistics.Tick, s.Statistics.Window))
	}
	all = append(all, s.Ledger.check(doc, &s.Journal)...)
	all = append(all, s.Replicas.check(doc)...)
	for _, name := range slices.Sorted(maps.Keys(s.Plugins.TrustedKeys)) {
		if _, err := wasm.ParsePublicKey(s.Plugins.TrustedKeys[name]); err != nil {
			all = append(all, doc.Problem(config.Dotted("plugins", "trusted_keys", name), "%v", err))
		}
	}
	seen, keeper := map[string]bool{}, map[string]string{}
	for i := range s.Scorers {
		c := &s.Scorers[i]
		if seen[c.Name] {
			all = append(all, c.Problem("name", "%q is the name of an earlier scorer; expected another", c.Name))
		}
		seen[c.Name] = true
		if c.State == "" {
			continue
		}
		if other, taken := keeper[filepath.Clean(c.State)]; taken {
			all = append(all, c.Problem("state", "%q is the file of the scorer %s; expected another", c.State, other))
		}
		keeper[filepath.Clean(c.State)] = c.Name
	}
	s.Scorers = slices.DeleteFunc(s.Scorers, func(c Scorer) bool { return c.Disabled })
	if !slices.ContainsFunc(s.Scorers, func(c Scorer) bool { return !c.Shadow }) {
		if seen["value"] {
			all = append(all, doc.Problem("scorers", "none of them decides, so that value does; it cannot be one that is disabled or a shadow as well"))
		}
		s.Scorers = append([]Scorer{{Name: "value"}}, s.Scorers...)
	}
	return s, all
}

// ranking are the names of the scorers that decide.
func (s *Settings) ranking() []string {
	names := []string{}
	for i := range s.Scorers {
		if !s.Scorers[i].Shadow {
			names = append(names, s.Scorers[i].Name)
		}
	}
	return names
}

func (r *Routing) spread() scorer.Spread {
	return scorer.Spread{Temperature: r.Temperature, Exploration: r.Exploration}
}

func (s *Settings) health() telemetry.HealthSettings {
	b := s.Dispatch.Breaker
	return telemetry.HealthSettings{
		Breaker:  telemetry.Breaker{Consecutive: b.Failures, Rate: b.Rate, Least: b.Attempts, Window: b.Window, CoolDown: b.CoolDown, Active: b.Probe},
		Endpoint: admission.Limits{InFlight: s.Load.InFlightEndpoint, Waiting: s.Load.Queue},
	}
}
