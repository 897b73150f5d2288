// Package engine is the façade that a Go program embeds: Open, Decide, Do, Reload, Close.
package engine

import (
	"context"
	"log/slog"
	"time"

	"chaperone/engine/dispatch"
	"chaperone/engine/route"
)

// Options is how an engine is opened.
type Options struct {
	ConfigPath string
	Env        func(string) (string, bool) // os.LookupEnv where nil
	Log        *slog.Logger                // slog.Default where nil
	Now        func() time.Time            // time.Now where nil
}

// Call is one request of a client.
type Call struct {
	Key  string // the client's API key as sent, without "Bearer "
	Body []byte // owned by the engine from here on
}

// Engine routes. It is safe for concurrent use.
type Engine struct{}

// Open loads the configuration and everything that it names. The error is config.Problems where the input is at fault.
func Open(ctx context.Context, o Options) (*Engine, error) { panic("stub") }

// Decide plans a chat completion without dispatching it. Errors are *wire.Error; a refusal is a plan with Refusal set.
func (e *Engine) Decide(ctx context.Context, c Call) (*route.Plan, error) { panic("stub") }

// Do plans and dispatches. It returns when the answer is whole or its stream has committed. ctx ends the request when the
// client goes away; after Do has returned a Stream, closing that does. Errors are *wire.Error.
func (e *Engine) Do(ctx context.Context, c Call) (*dispatch.Response, error) { panic("stub") }

// Reload builds a new snapshot and swaps it in; on an error nothing has changed.
func (e *Engine) Reload(ctx context.Context) error { panic("stub") }

// Files are the files and directories whose change calls for a Reload.
func (e *Engine) Files() []string { panic("stub") }

// Settings are those of the newest snapshot.
func (e *Engine) Settings() *Settings { panic("stub") }

// Close ends the engine; requests in flight should have ended.
func (e *Engine) Close(ctx context.Context) error { panic("stub") }
