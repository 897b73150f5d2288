package dispatch

import (
	"net"
	"net/http"
	"time"
)

// newTransport is the connection pool towards providers. RoundTrip is called on it directly, never through http.Client:
// a redirect would lead to an endpoint that nobody judged.
func newTransport(connect, tls time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    tls,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           4096,
		MaxIdleConnsPerHost:    512,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// A slow stream holds both for as long as it lasts; what is larger passes them by.
		ReadBufferSize:     256,
		WriteBufferSize:    256,
		DisableCompression: true, // answers are relayed as they come
	}
}
