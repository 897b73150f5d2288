//go:build !wasip1

package scorer

import "fmt"

// serve does nothing: there is no host.
func serve(*Plugin) {}

// Log writes a line to standard output: outside the router there is no other log.
func Log(level Level, text string) {
	fmt.Println([...]string{"debug:", "info:", "warning:", "error:"}[min(max(level, Debug), Error)], text)
}
