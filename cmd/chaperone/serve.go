package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/server"
)

func serveCommand(out *printer) *cobra.Command {
	var path, listen, level, format string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the router",
		Long: `Run the router until SIGTERM or an interrupt. It then lets requests in flight end, as drain_delay and drain_timeout of
[server] say; a second signal ends it at once.

A changed configuration, catalog, policy or plugin is taken up by itself, and on SIGHUP. One with a mistake is refused with a
message in the log, and what was in force stays in force. The settings of [server] are those of the start.

The addresses go to standard output, the log to standard error.

Where there is no chaperone.toml and --config names none, the router serves every provider of the shipped catalog whose key
is in the environment, to whoever has the client key that it makes and prints; the key ends with the router.`,
		Example: `  chaperone serve
  chaperone serve --config /etc/chaperone/chaperone.toml --log-format json
  chaperone serve --listen 127.0.0.1:0 --json`,
		Args: onlyFlags("--config"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(cmd.ErrOrStderr(), level, format)
			if err != nil {
				return err
			}
			if _, _, err := net.SplitHostPort(listen); listen != "" && err != nil {
				return inputErrorf("--listen: found %q; expected an address and a port, such as 127.0.0.1:8080", listen)
			}
			ctx := cmd.Context()
			options := engine.Options{ConfigPath: path, Log: log}
			var without *unconfigured
			if !cmd.Flags().Changed("config") && absent(path) {
				if without, err = configure(); err != nil {
					return err
				}
				options.ConfigPath, options.Config = without.name, without.text
			}
			e, err := engine.Open(ctx, options)
			if err != nil {
				return err
			}
			err = serve(ctx, e, options.ConfigPath, without, listen, log, out)
			return errors.Join(err, e.Close(context.WithoutCancel(ctx)))
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	cmd.Flags().StringVar(&listen, "listen", "", "address to listen on, in place of server.listen")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	return cmd
}

const defaultConfig = "chaperone.toml"

func newLog(w io.Writer, level, format string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, inputErrorf("--log-level: found %q; expected debug, info, warn or error", level)
	}
	options.Level = least
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return nil, inputErrorf("--log-format: found %q; expected text or json", format)
}

// serve runs the listeners until ctx ends, and then drains them.
func serve(ctx context.Context, e *engine.Engine, path string, without *unconfigured, listen string, log *slog.Logger, out *printer) error {
	settings := e.Settings().Server
	if listen != "" {
		settings.Listen = listen
	}
	s, err := server.New(e, settings, e.Metrics(), log)
	if err != nil { // the certificate
		return inputErrorf("%s: server: %v", path, err)
	}
	if err := s.Start(); err != nil {
		return cannotListen(err, settings.PrivateListen)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := e.Watch(ctx, hup); err != nil {
			log.Error("the configuration is not watched; restart to change it", slog.Any("error", err))
		}
	}()
	if err := out.print(announce(s, path, without, settings.TLSCertificate != "")); err != nil {
		return errors.Join(err, s.Shutdown(ctx))
	}
	<-ctx.Done()
	<-watched
	log.Info("shutting down; a second signal ends it at once",
		slog.Duration("drain_delay", settings.DrainDelay), slog.Duration("drain_timeout", settings.DrainTimeout))
	if err := s.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("the drain was not clean: %w", err)
	}
	log.Info("every request has been answered")
	return nil
}

// cannotListen says what can be done about an address that cannot be had.
func cannotListen(err error, private string) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil {
		return err
	}
	remedy := "choose another with --listen ADDR"
	if op.Addr.String() == private {
		remedy = "choose another as server.private_listen, or \"\" for none"
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; another program listens on %s: stop it, or %s", err, op.Addr, remedy)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; %s is no address of this machine: %s", err, op.Addr, remedy)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; this user may not listen on %s: %s", err, op.Addr, remedy)
	}
	return err
}

// announce is what is printed of a running server.
func announce(s *server.Server, path string, without *unconfigured, tls bool) (any, func(io.Writer)) {
	v := struct {
		URL        string `json:"url"`
		PrivateURL string `json:"private_url"` // metrics, profiles and health; "" where there is none
		Config     string `json:"config"`
		*unconfigured
	}{URL: "http://" + s.Addr().String(), Config: path, unconfigured: without}
	if tls {
		v.URL = "https://" + s.Addr().String()
	}
	if a := s.PrivateAddr(); a != nil {
		v.PrivateURL = "http://" + a.String()
	}
	return v, func(w io.Writer) {
		line := "serving " + path + " on " + v.URL
		if v.PrivateURL != "" {
			line += ", metrics on " + v.PrivateURL + "/metrics"
		}
		fmt.Fprintln(w, line)
		if without != nil {
			without.print(w)
		}
	}
}
