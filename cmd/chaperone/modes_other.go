//go:build !unix

package main

// privateModes says that a file's mode tells who may read it.
const privateModes = false
