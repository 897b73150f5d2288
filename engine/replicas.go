package engine

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"chaperone/engine/config"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

const (
	tellEvery    = 100 * time.Millisecond // what is new
	tellAllEvery = 5 * time.Second        // everything that rests, for replicas that have started or were out of reach meanwhile
)

func (r *Replicas) check(doc *config.Document) (all config.Problems) {
	for i, peer := range r.Peers {
		if u, err := url.Parse(peer); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			all = append(all, doc.Problem(fmt.Sprintf("replicas.peers[%d]", i), "found %q; expected the private listener of another router, such as http://10.0.0.2:9090", peer))
		} else if u.User != nil {
			all = append(all, doc.Problem(fmt.Sprintf("replicas.peers[%d]", i), "found %q; expected no name and password: replicas know each other by the token of replicas.token_env", u.Redacted()))
		}
	}
	if len(r.Peers) > 0 && r.TokenEnv == "" {
		all = append(all, doc.Problem("replicas.token_env", "missing; expected the environment variable with the token that all replicas have"))
	}
	return all
}

// toReplicas passes by a proxy that is set for what leaves the network: the token is not for it.
var toReplicas = &http.Transport{IdleConnTimeout: time.Minute}

// replicas tells the other routers what this one has met.
type replicas struct {
	token string // "": there are none
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// startSharing begins to tell the replicas, each by itself: one that is out of reach keeps nothing from the others.
func (e *Engine) startSharing(r Replicas) error {
	if len(r.Peers) == 0 {
		return nil
	}
	e.replicas.token, _ = e.options.Env(r.TokenEnv)
	if e.replicas.token == "" {
		return fmt.Errorf("replicas.token_env: the variable %s holds nothing", r.TokenEnv)
	}
	ctx, stop := context.WithCancel(context.Background())
	e.replicas.stop = stop
	for _, peer := range r.Peers {
		feed := e.health.Subscribe(e.replicas.token)
		e.replicas.ended.Go(func() { e.keepTelling(ctx, peer+"/replicas", feed) })
	}
	return nil
}

func (r *replicas) end() {
	if r.stop != nil {
		r.stop()
		r.ended.Wait()
	}
}

func (e *Engine) keepTelling(ctx context.Context, address string, feed *telemetry.Feed) {
	var toldAll time.Time
	reached := true
	for tick := time.NewTicker(tellEvery); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
		news := feed.Take(time.Now())
		if time.Since(toldAll) >= tellAllEvery {
			news, toldAll = append(news, feed.All(time.Now())...), time.Now()
		}
		if len(news) == 0 {
			continue
		}
		err := e.tell(ctx, address, news)
		if err != nil {
			feed.Missed()
		}
		if was := reached; was != (err == nil) && ctx.Err() == nil {
			if reached = err == nil; reached {
				e.options.Log.Info("a replica is told again what rests", slog.String("replica", address))
			} else {
				e.options.Log.Warn("a replica cannot be told what rests", slog.String("replica", address), slog.Any("error", err))
			}
		}
	}
}

func (e *Engine) tell(ctx context.Context, address string, news []telemetry.News) error {
	body, err := json.Marshal(news)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, telemetry.MostOnTheWay)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+e.replicas.token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := toReplicas.RoundTrip(r)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return errors.New(resp.Status)
	}
	return nil
}

// KnowReplica refuses, with a *wire.Error, who is not another router of the same deployment.
func (e *Engine) KnowReplica(token string) error {
	switch {
	case e.replicas.token == "":
		return &wire.Error{Status: http.StatusNotFound, Type: "not_found", Message: "this router has no replicas; they stand in [replicas]"}
	case subtle.ConstantTimeCompare([]byte(token), []byte(e.replicas.token)) != 1:
		return &wire.Error{Status: http.StatusUnauthorized, Type: "authentication", Message: "this is not the token of replicas.token_env"}
	}
	return nil
}

// Hear takes in what a router that is known tells of the health of endpoints and credentials. The error is a *wire.Error.
func (e *Engine) Hear(body []byte) error {
	var news []telemetry.News
	if err := json.Unmarshal(body, &news); err != nil {
		return &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Message: "what replicas tell is a JSON list: " + err.Error()}
	}
	e.health.Hear(news, time.Now())
	return nil
}
