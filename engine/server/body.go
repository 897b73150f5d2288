package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"chaperone/engine/wire"
)

const (
	minBodyRate   = 16 << 10 // bytes a second that a body must arrive with on average, once ReadTimeout is over
	firstBodyRead = 64 << 10 // a length that is only claimed gets no more memory than this
	prefetched    = 8 << 10  // what fasthttp reads of a body before the handler runs
)

// checkBodyHeaders refuses what would not be read as JSON, before any of it is read.
func checkBodyHeaders(h *head, length, limit int) *wire.Error {
	if length > limit {
		return bodyTooLarge(limit)
	}
	if e := h.contentEncoding; e != "" && !strings.EqualFold(e, "identity") {
		return &wire.Error{Status: fasthttp.StatusUnsupportedMediaType, Type: "invalid_request",
			Message: fmt.Sprintf("Content-Encoding is %q; send the body without content encoding", clip([]byte(e)))}
	}
	if h.contentType == "application/json" {
		return nil
	}
	media, params, err := mime.ParseMediaType(h.contentType)
	if charset, ok := params["charset"]; err == nil && media == "application/json" && (!ok || strings.EqualFold(charset, "utf-8")) {
		return nil
	}
	found := fmt.Sprintf("Content-Type is %q", clip([]byte(h.contentType)))
	if h.contentType == "" {
		found = "the request has no Content-Type"
	}
	return &wire.Error{Status: fasthttp.StatusUnsupportedMediaType, Type: "invalid_request",
		Message: found + "; send JSON as \"Content-Type: application/json\""}
}

func bodyTooLarge(limit int) *wire.Error {
	return &wire.Error{Status: fasthttp.StatusRequestEntityTooLarge, Type: "payload_too_large",
		Message: fmt.Sprintf("the body is longer than the limit of %d bytes (server.max_body_bytes)", limit)}
}

// readBody reads the whole body into memory of its own, which grows with what arrives. The client has grace, and a second
// more for every minBodyRate bytes that it has sent, so that neither a slow line is cut off nor a connection held for ever by
// a byte now and then.
func readBody(ctx *fasthttp.RequestCtx, limit int, grace time.Duration) ([]byte, *wire.Error) {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return nil, nil
	}
	length := ctx.Request.Header.ContentLength() // -1: chunked
	size := firstBodyRead
	if length >= 0 {
		size = min(length+1, firstBodyRead)
	}
	body := make([]byte, 0, size)
	deadline := time.Now().Add(grace)
	for {
		if len(body) == cap(body) {
			next := min(2*cap(body), limit+1)
			if length >= 0 {
				next = min(next, length+1)
			}
			body = append(make([]byte, 0, next), body...)
		}
		until := deadline.Add(time.Duration(len(body)) * time.Second / minBodyRate)
		if err := ctx.Conn().SetReadDeadline(until); err != nil {
			return nil, brokenBody(err)
		}
		n, err := stream.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if len(body) > limit {
			return nil, bodyTooLarge(limit)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, brokenBody(err)
		}
	}
	// fasthttp ends a body of known length without an error when the connection ends early.
	if length >= 0 && len(body) != length {
		return nil, badHeader("the body ended after %d of the %d bytes that Content-Length announced", len(body), length)
	}
	return body, nil
}

func brokenBody(err error) *wire.Error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &wire.Error{Status: fasthttp.StatusRequestTimeout, Type: "timeout",
			Message: "the body did not arrive in time; send it faster, or less"}
	}
	return badHeader("the body is not framed as its header says: a chunk is malformed, or the connection ended inside the body")
}

// skipBody reads what a refused request has sent where that cannot block, and returns whether the next request can follow
// on the connection.
func skipBody(ctx *fasthttp.RequestCtx) bool {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return true
	}
	if n := ctx.Request.Header.ContentLength(); n < 0 || n > prefetched {
		return false
	}
	_, err := io.Copy(io.Discard, stream)
	return err == nil
}
