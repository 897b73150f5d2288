package engine

import "time"

// Settings is chaperone.toml without what other packages read of it.
type Settings struct {
	Server Server `toml:"server"`
}

// Server is [server].
type Server struct {
	Listen         string        // default 127.0.0.1:8080
	PrivateListen  string        // /metrics, pprof, health; default 127.0.0.1:9090; "" switches it off
	TLSCertificate string        // PEM file; with TLSKey switches TLS on
	TLSKey         string        // PEM file
	MaxBodyBytes   int           // default 32 MiB
	MaxHeaderBytes int           // default 32 KiB
	MaxConnections int           // default 10,000
	ReadTimeout    time.Duration // per request read; default 30 s
	FlushTimeout   time.Duration // per write to the client; default 30 s
	IdleTimeout    time.Duration // of a keep-alive connection; default 90 s
	DrainDelay     time.Duration // after SIGTERM, how long new requests are still accepted while readyz says no; default 2 s
	DrainTimeout   time.Duration // how long requests in flight may take after that; default 10 min
}
