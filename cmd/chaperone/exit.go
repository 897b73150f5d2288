package main

import (
	"errors"

	"chaperone/engine/config"
)

// The exit codes that --help documents.
const (
	exitDone   = 0
	exitFailed = 1
	exitInput  = 2
)

// errInput is an error of the input that has been told already.
var errInput = inputError{}

type inputError struct{}

func (inputError) Error() string { return "" }

// exitCode tells errors of the input from failures.
func exitCode(err error) int {
	var problems config.Problems
	if errors.As(err, &problems) || errors.Is(err, errInput) {
		return exitInput
	}
	return exitFailed
}
