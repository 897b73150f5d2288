package server

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"chaperone/engine/wire"
)

// head is what the router reads of a request's header fields.
type head struct {
	key             string // the API key, from either field
	contentType     string
	contentEncoding string
	expect          string
	close           bool // the client wants the connection closed afterwards
}

// The fields that are read, in lower case, and those that frame the message. None of them may come twice: a proxy in front
// could have acted on the other one.
const (
	fieldAuthorization = iota
	fieldAPIKey
	fieldContentType
	fieldContentEncoding
	fieldContentLength
	fieldTransferEncoding
	fieldHost
	fieldExpect
	fieldConnection
	fields
)

var fieldNames = [fields]string{
	"Authorization", "X-Api-Key", "Content-Type", "Content-Encoding", "Content-Length", "Transfer-Encoding", "Host", "Expect", "Connection",
}

// readHead reads the header section as it came, without the request line. fasthttp has parsed it already, but accepts more
// than is safe behind another proxy: bare line feeds, folded lines, spaces in names, Content-Length beside
// Transfer-Encoding; and of fields that come twice it shows only one.
func readHead(raw []byte) (*head, *wire.Error) {
	var values [fields][]byte
	var seen [fields]bool
	h := &head{}
	for line := 2; len(raw) > 0; line++ { // the request line is the first
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return nil, badHeader("line %d of the header does not end in CRLF", line)
		}
		text := raw[:end-1]
		raw = raw[end+1:]
		if len(text) == 0 {
			break
		}
		if text[0] == ' ' || text[0] == '\t' {
			return nil, badHeader("line %d of the header begins with white space: folded fields are not accepted (RFC 9112, 5.2)", line)
		}
		name, value, _ := bytes.Cut(text, []byte{':'})
		for _, b := range name {
			if !isTokenByte(b) {
				return nil, badHeader("the field name on line %d of the header contains %q, which is not allowed in a name", line, b)
			}
		}
		f := knownField(name)
		if f < 0 {
			continue
		}
		if seen[f] && f != fieldConnection {
			return nil, badHeader("the header has two %s fields; send one", fieldNames[f])
		}
		seen[f] = true
		values[f] = bytes.Trim(value, " \t")
		if f == fieldConnection {
			h.close = h.close || hasToken(values[f], "close")
		}
	}
	if seen[fieldTransferEncoding] {
		if seen[fieldContentLength] {
			return nil, badHeader("the header has both Content-Length and Transfer-Encoding; send one")
		}
		if !bytes.EqualFold(values[fieldTransferEncoding], []byte("chunked")) {
			return nil, badHeader("Transfer-Encoding is %q; the only one accepted is chunked", clip(values[fieldTransferEncoding]))
		}
	}
	if e := h.readKey(values[fieldAuthorization], seen[fieldAuthorization], values[fieldAPIKey], seen[fieldAPIKey]); e != nil {
		return nil, e
	}
	h.contentType = string(values[fieldContentType])
	h.contentEncoding = string(values[fieldContentEncoding])
	h.expect = string(values[fieldExpect])
	return h, nil
}

// readKey takes the API key from "Authorization: Bearer KEY" or "x-api-key: KEY", as OpenAI's and Anthropic's clients send it.
// No message repeats what was sent: it may be a key with a typing error.
func (h *head) readKey(authorization []byte, hasAuthorization bool, apiKey []byte, hasAPIKey bool) *wire.Error {
	if hasAuthorization {
		scheme, token, _ := bytes.Cut(authorization, []byte{' '})
		if !bytes.EqualFold(scheme, []byte("Bearer")) {
			return badHeader("the Authorization field does not begin with Bearer; send \"Authorization: Bearer KEY\"")
		}
		token = bytes.TrimLeft(token, " ")
		if !isKey(token) {
			return badHeader("the Authorization field holds no well-formed key after Bearer; a key is letters, digits and - . _ ~ + / =, without spaces")
		}
		h.key = string(token)
	}
	if hasAPIKey {
		if !isKey(apiKey) {
			return badHeader("the X-Api-Key field holds no well-formed key; a key is letters, digits and - . _ ~ + / =, without spaces")
		}
		if hasAuthorization && h.key != string(apiKey) {
			return badHeader("the Authorization and X-Api-Key fields hold different keys; send one of them")
		}
		h.key = string(apiKey)
	}
	return nil
}

func badHeader(format string, args ...any) *wire.Error {
	return &wire.Error{Status: fasthttp.StatusBadRequest, Type: "invalid_request", Message: fmt.Sprintf(format, args...)}
}

func knownField(name []byte) int {
	for f := range fieldNames {
		if len(name) == len(fieldNames[f]) && strings.EqualFold(string(name), fieldNames[f]) {
			return f
		}
	}
	return -1
}

func hasToken(list []byte, token string) bool {
	for part := range bytes.SplitSeq(list, []byte{','}) {
		if strings.EqualFold(string(bytes.Trim(part, " \t")), token) {
			return true
		}
	}
	return false
}

// isKey holds for RFC 6750's b64token, with "=" anywhere.
func isKey(b []byte) bool {
	for _, c := range b {
		if !isAlphanumeric(c) && !strings.ContainsRune("-._~+/=", rune(c)) {
			return false
		}
	}
	return len(b) > 0
}

// isTokenByte holds for RFC 9110's tchar.
func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// clip is what a message shows of something long.
func clip(b []byte) []byte {
	const shown = 100
	if len(b) > shown {
		return append(append([]byte(nil), b[:shown]...), "…"...)
	}
	return b
}
