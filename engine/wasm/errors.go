package wasm

import (
	"errors"
	"fmt"
	"strings"
)

// What can be wrong with a plugin when it is loaded.
var (
	ErrRead      = errors.New("cannot be read")
	ErrPin       = errors.New("is not the file that was pinned")
	ErrSignature = errors.New("is not signed by a trusted key")
	ErrModule    = errors.New("is not a module that can be run")
	ErrManifest  = errors.New("has no valid manifest")
	ErrImport    = errors.New("imports what no plugin may use")
	ErrExport    = errors.New("does not export what a scorer must")
	ErrInit      = errors.New("did not start")
	ErrGolden    = errors.New("does not reproduce its golden vectors")
	ErrState     = errors.New("cannot keep what it learns")
)

// Why a call gave no scores. Each makes the scorer abstain for that request.
var (
	ErrAbstained = errors.New("the plugin abstained")
	ErrRows      = errors.New("more candidates than the plugin accepts")
	ErrBusy      = errors.New("no instance of the plugin became free in time")
	ErrFuel      = errors.New("the plugin ran out of fuel")
	ErrTrap      = errors.New("the plugin trapped")
	ErrReturned  = errors.New("the plugin returned an error")
	ErrDisabled  = errors.New("the plugin is disabled after repeated failures")
	ErrClosed    = errors.New("the plugin is closed")
)

// errExit is what proc_exit panics with: for a scorer there is no orderly exit.
var errExit = errors.New("exit")

// errSpent is what a host function panics with when it has used up the fuel.
var errSpent = errors.New("out of fuel")

// shown is a name that a module has brought, for a message: in one line, and no longer than a person reads.
func shown(name string) string {
	const most = 200
	if name = oneLine([]byte(name)); len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}

// trapError says in one line what ended a guest's run. wazero's own text has a stack trace of many.
func trapError(err error) error {
	cause, trace, _ := strings.Cut(err.Error(), "\n")
	cause = strings.TrimPrefix(strings.TrimSuffix(cause, " (recovered by wazero)"), "wasm error: ")
	for line := range strings.Lines(trace) {
		if frame, ok := strings.CutPrefix(line, "\t"); ok && !strings.Contains(frame, "(recovered by wazero)") {
			return fmt.Errorf("%w: %s, in %s", ErrTrap, cause, shown(frame))
		}
	}
	return fmt.Errorf("%w: %s", ErrTrap, cause)
}
