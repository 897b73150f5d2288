// Command chaperone routes requests for language models to the providers that may and should serve them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, interrupt := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		interrupt()
		second := <-signals // whatever is still waited for
		code := exitFailed
		if s, ok := second.(syscall.Signal); ok {
			code = 128 + int(s) // as a shell reports it
		}
		os.Exit(code)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
