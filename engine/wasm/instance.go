package wasm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"chaperone/engine/wasm/meter"
)

// instance is one instantiation of a plugin. One call at a time uses it.
type instance struct {
	plugin  *Plugin
	ctx     context.Context // by which host functions find the instance; kept because making one allocates
	module  api.Module
	fuel    api.MutableGlobal
	score   api.Function
	observe api.Function // nil where the plugin does not
	layout  layout
	arenaAt uint32
	filled  int // rows that the last call left in the arena
	calls   int
	born    uint32 // bytes of memory that it began with
	stack   [1]uint64

	clock  uint64 // what clocks say, Unix nanoseconds
	random splitMix
	line   []byte // of standard output and error, until it ends
	said   []byte // last line of the log, for the message of a failed start
}

// instanceKey finds the instance in the context that a host function is given.
type instanceKey struct{}

// newInstance instantiates, starts and configures, and hands over what an earlier instance learned, where there is any. Until
// the first batch it is the first nanosecond of 1970 (not zero, which Go's runtime takes for a broken clock) and the seed is
// 0, so that a start does the same every time.
func (p *Plugin) newInstance(state []byte) (*instance, error) {
	in := &instance{plugin: p, layout: p.layout.withRoom(len(state)), clock: 1}
	in.ctx = context.WithValue(context.Background(), instanceKey{}, in)
	err := in.start(state)
	in.flush()
	if err != nil {
		in.close()
		if said := oneLine(in.said); said != "" {
			err = fmt.Errorf("%w; it last said %q", err, said)
		}
		return nil, fmt.Errorf("%w: %w", ErrInit, err)
	}
	return in, nil
}

func (in *instance) start(state []byte) error {
	p := in.plugin
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	module, err := p.runtime.InstantiateModule(in.ctx, p.compiled, config)
	if err != nil {
		return trapError(err)
	}
	in.module = module
	in.fuel = module.ExportedGlobal(meter.Counter).(api.MutableGlobal)
	in.refuel(startFuel)
	for _, name := range []string{meter.Start, "_initialize"} {
		if f := module.ExportedFunction(name); f != nil {
			if err := f.CallWithStack(in.ctx, nil); err != nil {
				return fmt.Errorf("%s: %w", name, in.failure(err, startFuel))
			}
		}
	}
	at, err := in.call("chaperone_init", in.layout.size, initFuel)
	if err != nil {
		return err
	}
	memory := module.Memory()
	switch in.arenaAt = uint32(at); {
	case in.arenaAt == 0:
		return fmt.Errorf("chaperone_init refused an arena of %d bytes", in.layout.size)
	case in.arenaAt%8 != 0:
		return fmt.Errorf("chaperone_init gave an arena at address %d, should be a multiple of 8", in.arenaAt)
	case uint64(in.arenaAt)+uint64(in.layout.size) > uint64(memory.Size()):
		return fmt.Errorf("chaperone_init gave an arena at address %d of %d bytes, should lie within the memory of %d",
			in.arenaAt, in.layout.size, memory.Size())
	}
	if p.configures {
		if err := in.offer("chaperone_configure", "the configuration", p.configuration, configureFuel); err != nil {
			return err
		}
	}
	if len(state) > 0 {
		if err := in.offer("chaperone_restore", "what was saved", state, saveFuel); err != nil {
			return err
		}
	}
	a := in.arena()
	clear(a.mem)
	a.clear(0, a.capacity)
	in.born = memory.Size()
	in.find()
	return nil
}

// find gets the functions that are called often. Each brings a stack, which grows with what its calls need, up to some 100 MB, is
// kept for the next one, and counts towards no limit of memory.
func (in *instance) find() {
	in.score = in.module.ExportedFunction("chaperone_score")
	in.observe = in.module.ExportedFunction("chaperone_observe")
}

// deepCall is the fuel from which on a call may have made a stack grow to more than some megabytes.
const deepCall = 1 << 18

// offer puts data into the arena and calls a function that takes its length and accepts it with 0.
func (in *instance) offer(name, what string, data []byte, b budget) error {
	copy(in.arena().mem, data)
	status, err := in.call(name, len(data), b)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s refused %s with status %d", name, what, int32(status))
	}
	return err
}

// call is for functions that are not called often.
func (in *instance) call(name string, param int, b budget) (uint64, error) {
	in.stack[0] = uint64(param)
	in.refuel(b)
	if err := in.module.ExportedFunction(name).CallWithStack(in.ctx, in.stack[:]); err != nil {
		return 0, fmt.Errorf("%s: %w", name, in.failure(err, b))
	}
	return in.stack[0], nil
}

// refuel gives the module what it may use for the next call.
func (in *instance) refuel(b budget) { in.fuel.Set(uint64(in.plugin.fuel[b])) }

// spend takes off fuel for what the host does on the module's behalf.
func (in *instance) spend(units uint32) {
	left := int64(in.fuel.Get()) - int64(units)
	in.fuel.Set(uint64(left))
	if left < 0 {
		panic(errSpent)
	}
}

// failure says why a call ended without returning.
func (in *instance) failure(err error, b budget) error {
	if int64(in.fuel.Get()) < 0 {
		return in.plugin.outOfFuel(b)
	}
	return trapError(err)
}

// When an instance is worn: memory never shrinks, and what leaks little by little ends in a trap.
const (
	wornEvery = 1 << 12 // calls, after each of which it is looked at
	wornAfter = 1 << 20 // calls
)

// worn says that an instance should be replaced: it has done very many calls, or its memory has grown to more than twice what it
// began with and more than half of what it may have. One of a stateful plugin never is: it keeps what it has learned.
func (in *instance) worn() bool {
	if in.calls++; in.calls%wornEvery != 0 || in.plugin.learner != nil {
		return false
	}
	size := in.module.Memory().Size()
	return in.calls >= wornAfter || size > 2*in.born && size > in.plugin.limits.MemoryPages<<15
}

// arena is good until the guest runs.
func (in *instance) arena() arena {
	mem, _ := in.module.Memory().Read(in.arenaAt, uint32(in.layout.size))
	return arena{layout: in.layout, mem: mem}
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

// run calls a function on the rows that are in the arena. The instance is good for another call only where the error is nil
// or ErrAbstained.
func (in *instance) run(f api.Function, rows int, b budget) error {
	in.stack[0] = uint64(rows)
	in.refuel(b)
	err := f.CallWithStack(in.ctx, in.stack[:])
	in.flush()
	if err != nil {
		return in.failure(err, b)
	}
	if in.used(b) > deepCall {
		in.find()
	}
	switch status := int32(in.stack[0]); status {
	case 0:
		return nil
	case 1:
		return ErrAbstained
	default:
		return fmt.Errorf("%w: status %d", ErrReturned, status)
	}
}

// used is the fuel that the last call took.
func (in *instance) used(b budget) int64 {
	return in.plugin.fuel[b] - max(0, int64(in.fuel.Get()))
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
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return
	}
	in.said = append(in.said[:0], line...)
	if dropped, ok := p.lines.allow(time.Now()); ok {
		attrs := []any{"plugin", p.name}
		if dropped > 0 {
			attrs = append(attrs, "lines_dropped", dropped)
		}
		p.log.Log(context.Background(), level, oneLine(line), attrs...)
	}
}

func (in *instance) close() {
	if in.module != nil {
		_ = in.module.Close(context.Background()) // it has no files whose closing could fail
	}
}
