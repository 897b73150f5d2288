package wasm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// instance is one instantiation of a plugin. One call at a time uses it.
type instance struct {
	plugin  *Plugin
	module  api.Module
	score   api.Function
	arenaAt uint32
	filled  int // rows that the last call left in the arena
	dog     *watchdog
	stack   [1]uint64

	clock  uint64 // what clocks say, Unix nanoseconds
	random splitMix
	line   []byte // of standard output and error, until it ends
	said   string // last line of the log, for the message of a failed start
}

// newInstance instantiates, starts and configures. Until the first batch it is the first nanosecond of 1970 (not zero,
// which Go's runtime takes for a broken clock) and the seed is 0, so that a start does the same every time.
func (p *Plugin) newInstance() (*instance, error) {
	in := &instance{plugin: p, clock: 1}
	in.dog = newWatchdog(in)
	in.dog.watch(p.limits.InitDeadline)
	err := in.start()
	if !in.dog.release() && err == nil {
		err = fmt.Errorf("%w: %v", ErrDeadline, p.limits.InitDeadline)
	}
	in.flush()
	if err != nil {
		in.close()
		if in.said != "" {
			err = fmt.Errorf("%w; it last said %q", err, in.said)
		}
		return nil, fmt.Errorf("%w: %w", ErrInit, err)
	}
	return in, nil
}

func (in *instance) start() error {
	p := in.plugin
	limit := p.limits.InitDeadline
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize")
	module, err := p.runtime.InstantiateModule(in.dog, p.compiled, config)
	if err != nil {
		return fmt.Errorf("_initialize: %w", guestError(err, limit))
	}
	in.module = module
	at, err := in.call("chaperone_init", uint64(p.layout.size), limit)
	if err != nil {
		return err
	}
	memory := module.Memory()
	switch in.arenaAt = uint32(at); {
	case in.arenaAt == 0:
		return fmt.Errorf("chaperone_init refused an arena of %d bytes", p.layout.size)
	case in.arenaAt%8 != 0:
		return fmt.Errorf("chaperone_init gave an arena at address %d, should be a multiple of 8", in.arenaAt)
	case uint64(in.arenaAt)+uint64(p.layout.size) > uint64(memory.Size()):
		return fmt.Errorf("chaperone_init gave an arena at address %d of %d bytes, should lie within the memory of %d",
			in.arenaAt, p.layout.size, memory.Size())
	}
	if p.configures {
		copy(in.arena().mem, p.configuration)
		status, err := in.call("chaperone_configure", uint64(len(p.configuration)), limit)
		if err != nil {
			return err
		}
		if status != 0 {
			return fmt.Errorf("chaperone_configure refused the configuration with status %d", int32(status))
		}
	}
	a := in.arena()
	clear(a.mem)
	a.clear(0, a.capacity)
	in.score = module.ExportedFunction("chaperone_score")
	return nil
}

// call is for the functions that run once.
func (in *instance) call(name string, param uint64, limit time.Duration) (uint64, error) {
	results, err := in.module.ExportedFunction(name).Call(in.dog, param)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, guestError(err, limit))
	}
	return results[0], nil
}

// arena is good until the guest runs.
func (in *instance) arena() arena {
	mem, _ := in.module.Memory().Read(in.arenaAt, uint32(in.plugin.layout.size))
	return arena{layout: in.plugin.layout, mem: mem}
}

// prepare writes everything of a call but the columns and request fields.
func (in *instance) prepare(rows int, now time.Time, seed uint64) arena {
	a := in.arena()
	a.header(rows, float64(now.UnixMicro())/1e3, seed)
	a.clear(rows, in.filled)
	a.clearScores(rows)
	in.filled = rows
	in.clock = uint64(now.UnixNano())
	in.random = splitMix(seed)
	return a
}

// run scores the rows that are in the arena. The instance is good for another call only where the error is nil or
// ErrAbstained.
func (in *instance) run(rows int, scores []float64) error {
	limit := in.plugin.limits.CallDeadline
	in.stack[0] = uint64(rows)
	in.dog.watch(limit)
	err := in.score.CallWithStack(in.dog, in.stack[:])
	inTime := in.dog.release()
	in.flush()
	if err != nil {
		return guestError(err, limit)
	}
	if !inTime {
		return fmt.Errorf("%w: %v", ErrDeadline, limit)
	}
	switch status := int32(in.stack[0]); status {
	case 0:
		in.arena().scores(scores)
		return nil
	case 1:
		return ErrAbstained
	default:
		return fmt.Errorf("%w: status %d", ErrReturned, status)
	}
}

// write collects what the guest prints into lines; runtimes print in pieces.
func (in *instance) write(b []byte) {
	for len(b) > 0 {
		piece, rest, ends := bytes.Cut(b, []byte("\n"))
		in.line = append(in.line, piece[:min(len(piece), maxLogLine-len(in.line))]...)
		if ends {
			in.flush()
		}
		b = rest
	}
}

// flush logs an unfinished line.
func (in *instance) flush() {
	if len(in.line) > 0 {
		in.log(slog.LevelInfo, in.line)
		in.line = in.line[:0]
	}
}

func (in *instance) log(level slog.Level, line []byte) {
	p := in.plugin
	text := oneLine(line)
	if text == "" {
		return
	}
	in.said = text
	if dropped, ok := p.lines.allow(time.Now()); ok {
		attrs := []any{"plugin", p.name}
		if dropped > 0 {
			attrs = append(attrs, "lines_dropped", dropped)
		}
		p.log.Log(context.Background(), level, text, attrs...)
	}
}

func (in *instance) close() {
	if in.module != nil {
		_ = in.module.Close(context.Background()) // it has no files whose closing could fail
	}
}
