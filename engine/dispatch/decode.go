package dispatch

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// decoded is the body of a response without its content encoding (RFC 9110, 8.4). We ask for none, and some proxies in front
// of providers compress all the same. It reads nothing before it is read.
func decoded(resp *http.Response) (io.Reader, error) {
	switch name := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); name {
	case "", "identity":
		return resp.Body, nil
	case "gzip", "x-gzip":
		return &lazily{from: resp.Body, open: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }}, nil
	case "deflate":
		return &lazily{from: resp.Body, open: inflate}, nil
	case "zstd":
		return &lazily{from: resp.Body, open: func(r io.Reader) (io.Reader, error) {
			// One goroutine and no more memory than a browser would give: RFC 9659.
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		}}, nil
	default:
		return nil, fmt.Errorf("content encoding %q", name)
	}
}

// inflate reads zlib's form, which deflate means, or the bare one, which some send.
func inflate(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// lazily opens a decoder at the first read: its header is a part of the body, which may be long in coming.
type lazily struct {
	from    io.Reader
	open    func(io.Reader) (io.Reader, error)
	decoder io.Reader
}

func (l *lazily) Read(p []byte) (int, error) {
	if l.decoder == nil {
		d, err := l.open(l.from)
		if err == io.EOF {
			return 0, io.EOF // nothing at all, of any encoding
		}
		if err != nil {
			return 0, err
		}
		l.decoder = d
	}
	return l.decoder.Read(p)
}
