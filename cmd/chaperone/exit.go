package main

import (
	"errors"
	"fmt"

	"chaperone/engine/config"
)

// The exit codes that --help documents.
const (
	exitDone    = 0
	exitFailed  = 1
	exitInput   = 2
	exitRefused = 3
)

// inputError is a mistake of whoever typed the command line or wrote a file.
type inputError struct{ message string }

func (e inputError) Error() string { return e.message }

// errInput is an error of the input that has been told already.
var errInput = inputError{}

func inputErrorf(format string, args ...any) error {
	return inputError{fmt.Sprintf(format, args...)}
}

// errRefused is told already too: all went well, and the answer is that nothing may serve the request.
var errRefused = refusal{}

type refusal struct{}

func (refusal) Error() string { return "" }

// exitCode tells errors of the input from failures.
func exitCode(err error) int {
	var problems config.Problems
	var input inputError
	switch {
	case errors.As(err, &problems), errors.As(err, &input):
		return exitInput
	case errors.Is(err, errRefused):
		return exitRefused
	}
	return exitFailed
}
