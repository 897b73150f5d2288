package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"unicode"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

const (
	wasiModule = "wasi_snapshot_preview1"
	ownModule  = "chaperone"
)

// Error numbers of WASI preview 1.
const (
	errnoSuccess = 0
	errnoBadF    = 8
	errnoFault   = 21
	errnoInval   = 28
)

// hostCall is the fuel for a host call, which takes it some 100 ns; each byte that it moves takes 1 more.
const hostCall = 256

// What one host call may move at most. They are far above what a scorer needs.
const (
	maxLogLine  = 1024
	maxWrite    = 16 << 10
	maxVectors  = 64
	maxRandom   = 64 << 10
	maxPollSubs = 64
)

// hostFunction is one function that a plugin may import. It sees the instance that called; its first result, if it has
// one, is the return value.
type hostFunction struct {
	params, results []api.ValueType
	call            func(in *instance, mem api.Memory, stack []uint64) uint64
}

func (f hostFunction) Call(ctx context.Context, mod api.Module, stack []uint64) {
	in := ctx.Value(instanceKey{}).(*instance)
	in.spend(hostCall)
	result := f.call(in, mod.Memory(), stack)
	if len(f.results) > 0 {
		stack[0] = result
	}
}

// hostFunctions is everything that a plugin may import, by module and name.
var hostFunctions = map[string]map[string]hostFunction{
	ownModule: {
		"log": {types("iii"), nil, func(in *instance, mem api.Memory, s []uint64) uint64 {
			n := min(uint32(s[2]), maxLogLine)
			if line, ok := mem.Read(uint32(s[1]), n); ok {
				in.spend(n)
				in.log(guestLevel(int32(s[0])), line)
			}
			return 0
		}},
	},
	wasiModule: wasiFunctions(),
}

// wasiFunctions is the deterministic part of WASI preview 1: no files, arguments, environment or sockets; the time is the
// batch's and randomness comes from its seed.
func wasiFunctions() map[string]hostFunction {
	all := map[string]hostFunction{
		"args_get":          {types("ii"), types("i"), nothing},
		"args_sizes_get":    {types("ii"), types("i"), noSizes},
		"environ_get":       {types("ii"), types("i"), nothing},
		"environ_sizes_get": {types("ii"), types("i"), noSizes},
		"clock_res_get": {types("ii"), types("i"), func(_ *instance, mem api.Memory, s []uint64) uint64 {
			return store(mem.WriteUint64Le(uint32(s[1]), 1))
		}},
		"clock_time_get": {types("iIi"), types("i"), func(in *instance, mem api.Memory, s []uint64) uint64 {
			return store(mem.WriteUint64Le(uint32(s[2]), in.clock))
		}},
		"random_get":  {types("ii"), types("i"), randomGet},
		"fd_write":    {types("iiii"), types("i"), fdWrite},
		"poll_oneoff": {types("iiii"), types("i"), pollOneoff},
		"sched_yield": {nil, types("i"), nothing},
		"proc_exit": {types("i"), nil, func(_ *instance, _ api.Memory, s []uint64) uint64 {
			panic(fmt.Errorf("%w: proc_exit(%d)", errExit, uint32(s[0])))
		}},
	}
	// Every other call on files, with its parameters: there are no files.
	for _, f := range strings.Fields(`fd_advise:iIIi fd_allocate:iII fd_close:i fd_datasync:i fd_fdstat_get:ii
		fd_fdstat_set_flags:ii fd_fdstat_set_rights:iII fd_filestat_get:ii fd_filestat_set_size:iI
		fd_filestat_set_times:iIIi fd_pread:iiiIi fd_prestat_get:ii fd_prestat_dir_name:iii fd_pwrite:iiiIi fd_read:iiii
		fd_readdir:iiiIi fd_renumber:ii fd_seek:iIii fd_sync:i fd_tell:ii path_create_directory:iii
		path_filestat_get:iiiii path_filestat_set_times:iiiiIIi path_link:iiiiiii path_open:iiiiiIIii
		path_readlink:iiiiii path_remove_directory:iii path_rename:iiiiii path_symlink:iiiii path_unlink_file:iii`) {
		name, params, _ := strings.Cut(f, ":")
		all[name] = hostFunction{types(params), types("i"), func(*instance, api.Memory, []uint64) uint64 { return errnoBadF }}
	}
	return all
}

// types spells a list of value types: i is i32, I is i64.
func types(spec string) []api.ValueType {
	out := make([]api.ValueType, len(spec))
	for i, c := range spec {
		out[i] = api.ValueTypeI32
		if c == 'I' {
			out[i] = api.ValueTypeI64
		}
	}
	return out
}

func nothing(*instance, api.Memory, []uint64) uint64 { return errnoSuccess }

func noSizes(_ *instance, mem api.Memory, s []uint64) uint64 {
	return store(mem.WriteUint32Le(uint32(s[0]), 0) && mem.WriteUint32Le(uint32(s[1]), 0))
}

func store(ok bool) uint64 {
	if !ok {
		return errnoFault
	}
	return errnoSuccess
}

func randomGet(in *instance, mem api.Memory, s []uint64) uint64 {
	n := uint32(s[1])
	if n > maxRandom {
		return errnoInval
	}
	b, ok := mem.Read(uint32(s[0]), n)
	if ok {
		in.spend(n)
		in.random.fill(b)
	}
	return store(ok)
}

// fdWrite sends standard output and error to the log, line by line.
func fdWrite(in *instance, mem api.Memory, s []uint64) uint64 {
	fd, vectors, n, written := uint32(s[0]), uint32(s[1]), uint32(s[2]), uint32(s[3])
	if fd != 1 && fd != 2 {
		return errnoBadF
	}
	if n > maxVectors {
		return errnoInval
	}
	list, ok := mem.Read(vectors, 8*n)
	if !ok {
		return errnoFault
	}
	var total uint32
	for ; len(list) > 0; list = list[8:] {
		at, size := binary.LittleEndian.Uint32(list), binary.LittleEndian.Uint32(list[4:])
		b, ok := mem.Read(at, size)
		if !ok || total+size < total {
			return errnoFault
		}
		total += size
		b = b[:min(size, maxWrite)]
		in.spend(uint32(8 + len(b) + hostCall*bytes.Count(b, []byte("\n")))) // each line is a call of the log's
		in.write(b)
	}
	return store(mem.WriteUint32Le(written, total))
}

// pollOneoff never sleeps: time passes at once, for this call, until the earliest clock that is waited for.
func pollOneoff(in *instance, mem api.Memory, s []uint64) uint64 {
	const subscription, event = 48, 32
	from, to, n, written := uint32(s[0]), uint32(s[1]), uint32(s[2]), uint32(s[3])
	if n == 0 || n > maxPollSubs {
		return errnoInval
	}
	subs, ok := mem.Read(from, n*subscription)
	if !ok {
		return errnoFault
	}
	events, ok := mem.Read(to, n*event)
	if !ok {
		return errnoFault
	}
	in.spend(n * (subscription + event))
	due := func(sub []byte) uint64 {
		at := binary.LittleEndian.Uint64(sub[24:])
		if sub[40]&1 == 0 { // relative
			at = max(at+in.clock, in.clock)
		}
		return max(at, in.clock)
	}
	earliest := in.clock
	for i, first := uint32(0), true; i < n; i++ {
		if sub := subs[i*subscription:]; sub[8] != 0 {
			earliest, first = in.clock, false // a file is "ready", with an error, at once
		} else if at := due(sub); first || at < earliest {
			earliest, first = at, false
		}
	}
	// The events may overlap the subscriptions: they are put together elsewhere first.
	var done [maxPollSubs * event]byte
	fired := uint32(0)
	for i := range n {
		sub := subs[i*subscription:]
		out := done[fired*event : (fired+1)*event]
		switch {
		case sub[8] == 0 && due(sub) <= earliest:
		case sub[8] == 1 || sub[8] == 2:
			binary.LittleEndian.PutUint16(out[8:], errnoBadF)
		default:
			continue
		}
		copy(out, sub[:8])
		out[10] = sub[8]
		fired++
	}
	copy(events, done[:fired*event])
	in.clock = earliest
	return store(mem.WriteUint32Le(written, fired))
}

// guestLevel maps the levels of chaperone.log: 0 debug, 1 info, 2 warning, 3 error.
func guestLevel(level int32) slog.Level {
	return [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[min(max(level, 0), 3)]
}

// oneLine is a guest's text without what would forge lines, terminal sequences or the direction of what follows.
func oneLine(b []byte) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(bytes.TrimSpace(b)), "\uFFFD"))
}

// offer instantiates the host's modules in a plugin's runtime.
func offer(ctx context.Context, rt wazero.Runtime) error {
	for module, functions := range hostFunctions {
		builder := rt.NewHostModuleBuilder(module)
		for name, f := range functions {
			builder.NewFunctionBuilder().WithGoModuleFunction(f, f.params, f.results).Export(name)
		}
		if _, err := builder.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}
