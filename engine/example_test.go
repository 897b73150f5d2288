package engine_test

import (
	"context"
	"fmt"
	"log"

	"chaperone/engine"
)

// A program can hold a router inside itself, without the HTTP server.
func Example() {
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Options{ConfigPath: "../testdata/config/example/chaperone.toml"})
	if err != nil {
		log.Fatal(err) // every mistake of the configuration, with its file and line
	}
	defer e.Close(ctx)
	plan, err := e.Decide(ctx, engine.Call{
		Key:  "sk-example",
		Body: []byte(`{"model":"example/small","messages":[{"role":"user","content":"hello"}]}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, permit := range plan.Permits {
		fmt.Println("may serve:", permit.Row().ID)
	}
	for _, c := range plan.Candidates {
		if c.Excluded != nil {
			fmt.Printf("may not: %s: %s\n", c.Row.ID, c.Excluded.Denials[0].Message)
		}
	}
	// Output:
	// may serve: example/small@careful#paid
	// may not: example/small@curious#free: the terms say yes to training on prompts; the policy asks for no
}
