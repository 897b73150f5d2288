package server

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"

	"chaperone/engine/wire"
)

// readTarget gives the segments of the request target's path, decoded. A target that another program could read as a
// different path is refused rather than normalised: a proxy in front may have allowed the one and we would serve the other.
func readTarget(target, host []byte, tls bool) ([]string, *wire.Error) {
	path, _, _ := bytes.Cut(target, []byte{'?'})
	if bytes.IndexByte(target, '#') >= 0 {
		return nil, badHeader("the request target contains #; a fragment is not sent to a server")
	}
	if path = relative(path, host, tls); path == nil {
		return nil, badHeader("the request target is neither a path nor http(s)://HOST/PATH with the HOST of the Host field")
	}
	if string(path) == "/" {
		return nil, nil
	}
	raw := strings.Split(modelPath(string(path[1:])), "/")
	for i, s := range raw {
		decoded, e := readSegment(s, i == len(raw)-1)
		if e != nil {
			return nil, e
		}
		raw[i] = decoded
	}
	return raw, nil
}

// relative is the path of a target in origin form (/path) or absolute form (http://host/path), nil where it is in neither.
func relative(path, host []byte, tls bool) []byte {
	if len(path) > 0 && path[0] == '/' {
		return path
	}
	scheme := "http://"
	if tls {
		scheme = "https://"
	}
	if len(path) < len(scheme) || !strings.EqualFold(string(path[:len(scheme)]), scheme) {
		return nil
	}
	path = path[len(scheme):]
	slash := bytes.IndexByte(path, '/')
	if slash < 0 || !bytes.EqualFold(path[:slash], host) {
		return nil
	}
	return path[slash:]
}

// modelPath takes the one encoded slash that clients write between a model's author and its name when they ask for the model;
// anywhere else it is refused.
func modelPath(path string) string {
	rest, found := strings.CutPrefix(strings.TrimPrefix(path, "api/"), "v1/models/")
	if !found {
		return path
	}
	author, slug, found := strings.Cut(strings.ReplaceAll(rest, "%2f", "%2F"), "%2F")
	if !found || strings.Contains(author, "/") {
		return path
	}
	return path[:len(path)-len(rest)] + author + "/" + slug
}

func readSegment(s string, last bool) (string, *wire.Error) {
	switch s {
	case "":
		if last {
			return "", nil // a slash at the end is another path, which does not exist
		}
		return "", badHeader("the path contains //; send it without empty segments")
	case ".", "..":
		return "", badHeader("the path contains the segment %s; send it without relative segments", s)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			return "", badHeader("the path contains a backslash, which some programs read as a slash; send it without")
		case c <= ' ' || c >= 0x7f:
			return "", badHeader("the path contains the byte 0x%02x, which is not allowed in one", c)
		case c == '%':
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return "", badHeader("the path contains %% without two hexadecimal digits after it")
			}
			c = byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			if c <= ' ' || c >= 0x7f || isAlphanumeric(c) || strings.IndexByte("-._~/\\%", c) >= 0 {
				return "", badHeader("the path contains %s; only reserved characters other than the slash may be encoded in it", s[i:i+3])
			}
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// checkVersion refuses what is framed by rules that are not ours.
func checkVersion(version []byte) *wire.Error {
	switch string(version) {
	case "HTTP/1.1", "HTTP/1.0":
		return nil
	}
	return &wire.Error{Status: fasthttp.StatusHTTPVersionNotSupported, Type: "invalid_request",
		Message: "the request says " + string(version) + "; this router speaks HTTP/1.1 and HTTP/1.0"}
}
