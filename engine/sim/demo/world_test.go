package demo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim/demo"
)

func open(t *testing.T) (*demo.World, *engine.Engine) {
	t.Helper()
	world, err := demo.Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { world.Close() })
	path, err := world.Write(t.TempDir(), demo.Settings{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Env: world.Env})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	return world, e
}

func TestTheTwoOrganisationsMayUseDifferentRows(t *testing.T) {
	_, e := open(t)
	for _, model := range []string{demo.LargeModel, demo.SmallModel} {
		body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello"}]}`, model)
		for key, denied := range map[string][]string{
			demo.OpenKey:   nil,
			demo.StrictKey: {"free-and-paid#free", "overseas#paid", "trains-on-data#paid"},
		} {
			plan, err := e.Decide(t.Context(), engine.Call{Key: key, Body: []byte(body)})
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Abstained) > 0 || !slices.Equal(plan.Scorers, []string{"value", "carbon-aware"}) {
				t.Errorf("ranked by %v without %v; should be by both", plan.Scorers, plan.Abstained)
			}
			var excluded []string
			for _, c := range plan.Candidates {
				if c.Excluded != nil {
					excluded = append(excluded, c.Row.Provider.ID+"#"+c.Row.Group.Name)
				}
			}
			slices.Sort(excluded)
			if len(plan.Candidates) != 11 || !slices.Equal(excluded, denied) {
				t.Errorf("%s, %s: %d candidates without %v; should be 11 without %v", key, model, len(plan.Candidates), excluded, denied)
			}
		}
	}
}

func TestTrafficFollowsFromItsSeed(t *testing.T) {
	first, longer := traffic(7, 100), traffic(7, 120)
	seen := map[string]bool{}
	for i, q := range first {
		if string(q.Body) != string(longer[i].Body) || q.Key != longer[i].Key {
			t.Fatalf("request %d of the same seed differs", i)
		}
		var body struct {
			Model, User string
			Stream      bool
		}
		if err := json.Unmarshal(q.Body, &body); err != nil {
			t.Fatal(err)
		}
		if body.Model != q.Model || body.Stream != q.Stream || body.User != fmt.Sprintf("%s/%d", q.Organisation, i+1) {
			t.Errorf("request %d says %+v of itself and has %s", i, q, q.Body)
		}
		seen[fmt.Sprint(q.Organisation, q.Model, q.Stream)] = true
	}
	if len(seen) != 8 {
		t.Errorf("100 requests show %d of the 8 combinations of organisation, model and streaming", len(seen))
	}
	if other := traffic(8, 2); string(other[0].Body) == string(first[0].Body) && string(other[1].Body) == string(first[1].Body) {
		t.Error("another seed gives the same traffic")
	}
}

func traffic(seed uint64, n int) []demo.Request {
	source := demo.NewTraffic(seed)
	requests := make([]demo.Request, n)
	for i := range requests {
		requests[i] = source.Next()
	}
	return requests
}
