package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/server"
)

// DefaultListen is where the demo listens unless told otherwise.
const DefaultListen = "127.0.0.1:8080"

// Options is how a demo is opened.
type Options struct {
	Listen        string // "": DefaultListen, or a free port of 127.0.0.1 where that is taken
	Seed          uint64 // of the providers' fates and texts, and of the traffic
	WithoutPolicy bool   // see Settings
	Log           *slog.Logger
}

// Demo is the world, a router in front of it, and the traffic between them. It is safe for concurrent use.
type Demo struct {
	World *World
	Moved bool // DefaultListen was taken: URL is elsewhere

	engine  *engine.Engine
	server  *server.Server
	watched *watched
	client  *http.Client
	traffic *Traffic

	mu       sync.Mutex
	own      *Tally // of the demo's own traffic
	failures []error
	sent     int64
	failed   int64
	example  *journal.Record
}

// Open starts the providers, the router and its server. The configuration is read from files, as always; they are gone when
// Open returns. Close ends it all; the end of ctx does not.
func Open(ctx context.Context, o Options) (*Demo, error) {
	d := &Demo{traffic: NewTraffic(o.Seed), own: NewTally(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if err := d.open(context.WithoutCancel(ctx), o); err != nil {
		return nil, errors.Join(err, d.Close(ctx))
	}
	return d, nil
}

func (d *Demo) open(ctx context.Context, o Options) error {
	var err error
	if d.World, err = Start(ctx, o.Seed); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "chaperone-demo-")
	if err != nil {
		return err
	}
	// Not left to Close, which a broken pipe or a kill would keep from running.
	defer os.RemoveAll(dir)
	listen := o.Listen
	if listen == "" {
		listen = DefaultListen
	}
	// One address twice would be refused, even where its port is 0; so the private one is said in another way.
	path, err := d.World.Write(dir, Settings{Listen: listen, PrivateListen: "localhost:0", WithoutPolicy: o.WithoutPolicy})
	if err != nil {
		return err
	}
	if d.engine, err = engine.Open(ctx, engine.Options{ConfigPath: path, Env: d.World.Env, Log: o.Log}); err != nil {
		return err
	}
	d.watched = &watched{Engine: d.engine}
	settings := d.engine.Settings().Server
	if err = d.listen(settings, o.Log); err == nil {
		return nil
	}
	if o.Listen != "" {
		return fmt.Errorf("%w; name another address, or none for a free one", err)
	}
	settings.Listen = "127.0.0.1:0"
	d.Moved = true
	return d.listen(settings, o.Log)
}

func (d *Demo) listen(settings engine.Server, log *slog.Logger) error {
	s, err := server.New(d.watched, settings, d.engine.Metrics(), log)
	if err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	d.server = s
	return nil
}

// URL is the server's, as a client on this machine says it: http://127.0.0.1:8080.
func (d *Demo) URL() string {
	address := d.server.Addr().(*net.TCPAddr)
	host := address.IP
	if host.IsUnspecified() {
		host = net.IPv4(127, 0, 0, 1)
	}
	return "http://" + (&net.TCPAddr{IP: host, Port: address.Port}).String()
}

// PrivateURL is that of the metrics, profiles and health.
func (d *Demo) PrivateURL() string { return "http://" + d.server.PrivateAddr().String() }

// Close drains the server and ends everything.
func (d *Demo) Close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var all []error
	d.client.CloseIdleConnections()
	if d.server != nil {
		all = append(all, d.server.Shutdown(ctx))
	}
	if d.engine != nil {
		all = append(all, d.engine.Close(ctx))
	}
	if d.World != nil {
		all = append(all, d.World.Close())
	}
	return errors.Join(all...)
}

// Denials are the rules that keep the organisation strict from offers, by offer, as the router says.
func (d *Demo) Denials(ctx context.Context) (map[string]*policy.Reason, error) {
	text, err := d.engine.Endpoints(ctx, StrictKey, LargeModel)
	if err != nil {
		return nil, err
	}
	var said struct {
		Data struct {
			Endpoints []struct {
				ID      string
				Denials []*policy.Reason
			}
		}
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, err
	}
	denials := map[string]*policy.Reason{}
	for _, e := range said.Data.Endpoints {
		if len(e.Denials) > 0 {
			denials[OfferOf(e.ID)] = e.Denials[0]
		}
	}
	return denials, nil
}
