package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
)

const unreadable = `the request line or the header is malformed: expected "METHOD /path HTTP/1.1", then "Name: value" lines, one Host among them and at most one Content-Length (a number) or Transfer-Encoding (chunked), then an empty line, all ended by CRLF`

const (
	host   = "Host: router\r\n"
	bearer = "Authorization: Bearer sk-acme\r\n"
	asJSON = "Content-Type: application/json\r\n"
)

// Every request is written as it stands, behind it one that must never be answered where the connection has to close.
var malformed = []struct {
	name    string
	raw     string
	status  int
	message string
	stays   bool // the connection may go on
}{
	// The request line.
	{"no version", "GET /v1/models\r\n" + host + "\r\n", 400, unreadable, false},
	{"HTTP/2.0", "GET /v1/models HTTP/2.0\r\n" + host + "\r\n", 505, "the request says HTTP/2.0; this router speaks HTTP/1.1 and HTTP/1.0", false},
	{"HTTP/1.2", "GET /v1/models HTTP/1.2\r\n" + host + "\r\n", 505, "the request says HTTP/1.2; this router speaks HTTP/1.1 and HTTP/1.0", false},
	{"no method", " /v1/models HTTP/1.1\r\n" + host + "\r\n", 400, unreadable, false},
	{"a control character in the target", "GET /v1/mod\x01els HTTP/1.1\r\n" + host + "\r\n", 400, unreadable, false},
	{"binary", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, unreadable, false},

	// The target.
	{"an empty segment", "GET /v1//models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains //; send it without empty segments", false},
	{"two slashes first", "GET //v1/models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains //; send it without empty segments", false},
	{"a dot segment", "GET /v1/./models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains the segment .; send it without relative segments", false},
	{"a parent segment", "GET /v1/x/../models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains the segment ..; send it without relative segments", false},
	{"a parent segment at the end", "GET /v1/models/.. HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains the segment ..; send it without relative segments", false},
	{"encoded dots", "GET /v1/%2e%2e/models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains %2e; only reserved characters other than the slash may be encoded in it", false},
	{"an encoded slash", "GET /v1%2Fmodels HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains %2F; only reserved characters other than the slash may be encoded in it", false},
	{"an encoded letter", "GET /v1/%6dodels HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains %6d; only reserved characters other than the slash may be encoded in it", false},
	{"encoded twice", "GET /v1/%252e HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains %25; only reserved characters other than the slash may be encoded in it", false},
	{"an encoded NUL", "GET /v1/models%00 HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains %00; only reserved characters other than the slash may be encoded in it", false},
	{"a broken encoding", "GET /v1/models/%zz HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains % without two hexadecimal digits after it", false},
	{"a backslash", `GET /v1\models HTTP/1.1` + "\r\n" + host + bearer + "\r\n", 400, "the path contains a backslash, which some programs read as a slash; send it without", false},
	{"a byte beyond ASCII", "GET /v1/mod\xe9ls HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the path contains the byte 0xe9, which is not allowed in one", false},
	{"a fragment", "GET /v1/models#x HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the request target contains #; a fragment is not sent to a server", false},
	{"another host in the target", "GET http://elsewhere/v1/models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the request target is neither a path nor http(s)://HOST/PATH with the HOST of the Host field", false},
	{"a user in the target", "GET http://me@router/v1/models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the request target is neither a path nor http(s)://HOST/PATH with the HOST of the Host field", false},
	{"another scheme", "GET ftp://router/v1/models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "the request target is neither a path nor http(s)://HOST/PATH with the HOST of the Host field", false},
	{"an asterisk", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 400, "the request target is neither a path nor http(s)://HOST/PATH with the HOST of the Host field", false},
	{"a tunnel", "CONNECT elsewhere:443 HTTP/1.1\r\n" + host + "\r\n", 400, "the request target is neither a path nor http(s)://HOST/PATH with the HOST of the Host field", false},

	// Framing.
	{"two Content-Length fields", "POST /v1/route HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400, unreadable, false},
	{"a list in Content-Length", "POST /v1/route HTTP/1.1\r\n" + host + "Content-Length: 2, 2\r\n\r\n{}", 400, unreadable, false},
	{"a sign in Content-Length", "POST /v1/route HTTP/1.1\r\n" + host + "Content-Length: +2\r\n\r\n{}", 400, unreadable, false},
	{"a negative Content-Length", "POST /v1/route HTTP/1.1\r\n" + host + "Content-Length: -2\r\n\r\n{}", 400, unreadable, false},
	{"a hexadecimal Content-Length", "POST /v1/route HTTP/1.1\r\n" + host + "Content-Length: 0x2\r\n\r\n{}", 400, unreadable, false},
	{"an empty Content-Length", "POST /v1/route HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n{}", 400, unreadable, false},
	{"a Content-Length beyond 64 bits", "POST /v1/route HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n{}", 400, unreadable, false},
	{"length and chunks", "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "the header has both Content-Length and Transfer-Encoding; send one", false},
	{"chunks and length", "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n", 400, "the header has both Content-Length and Transfer-Encoding; send one", false},
	{"identity", "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "Transfer-Encoding: identity\r\n\r\n", 400, `Transfer-Encoding is "identity"; the only one accepted is chunked`, false},
	{"compressed chunks", "POST /v1/route HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, unreadable, false},
	{"two Transfer-Encoding fields", "POST /v1/route HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, unreadable, false},
	{"a space before the colon", "POST /v1/route HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, unreadable, false},
	{"chunks in HTTP/1.0", "POST /v1/route HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, unreadable, false},
	{"a chunk size that is none", "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, "the body is not framed as its header says: a chunk is malformed, or the connection ended inside the body", false},
	{"a chunk that is longer than its size", "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n", 400, "the body is not framed as its header says: a chunk is malformed, or the connection ended inside the body", false},
	{"a line feed after a chunk size", "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n", 400, "the body is not framed as its header says: a chunk is malformed, or the connection ended inside the body", false},
	{"a body on GET", "GET /v1/models HTTP/1.1\r\n" + host + bearer + "Content-Length: 3\r\n\r\nabc", 400, "/v1/models takes no body; send none", true},
	{"chunks on GET", "GET /v1/models HTTP/1.1\r\n" + host + bearer + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 400, "/v1/models takes no body; send none", false},

	// Fields.
	{"no host", "GET /v1/models HTTP/1.1\r\n" + bearer + "\r\n", 400, unreadable, false},
	{"two hosts", "GET /v1/models HTTP/1.1\r\n" + host + "Host: other\r\n\r\n", 400, unreadable, false},
	{"a field without a colon", "GET /v1/models HTTP/1.1\r\n" + host + "Nonsense\r\n\r\n", 400, unreadable, false},
	{"a control character in a value", "GET /v1/models HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n", 400, unreadable, false},
	{"a bare carriage return in a value", "GET /v1/models HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n", 400, unreadable, false},
	{"a line feed for a line end", "GET /v1/models HTTP/1.1\r\n" + host + "X: a\nY: b\r\n\r\n", 400, "line 3 of the header does not end in CRLF", false},
	{"a line feed for the empty line", "GET /v1/models HTTP/1.1\r\n" + host + "X: a\n\nGET /v1/models HTTP/1.1\r\n" + host + bearer + "\r\n", 400, "line 3 of the header does not end in CRLF", false},
	{"a folded field", "GET /v1/models HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", 400, "line 4 of the header begins with white space: folded fields are not accepted (RFC 9112, 5.2)", false},
	{"a space in a name", "GET /v1/models HTTP/1.1\r\n" + host + "Content Length: 3\r\n\r\n", 400, "the field name on line 3 of the header contains ' ', which is not allowed in a name", false},
	{"two keys", "GET /v1/models HTTP/1.1\r\n" + host + bearer + "Authorization: Bearer sk-other\r\n\r\n", 400, "the header has two Authorization fields; send one", false},
	{"the same key twice", "GET /v1/models HTTP/1.1\r\n" + host + bearer + bearer + "\r\n", 400, "the header has two Authorization fields; send one", false},
	{"two x-api-key fields", "GET /v1/models HTTP/1.1\r\n" + host + "x-api-key: a\r\nX-API-Key: b\r\n\r\n", 400, "the header has two X-Api-Key fields; send one", false},
	{"keys that disagree", "GET /v1/models HTTP/1.1\r\n" + host + bearer + "x-api-key: sk-other\r\n\r\n", 400, "the Authorization and X-Api-Key fields hold different keys; send one of them", false},
	{"another scheme of authorisation", "GET /v1/models HTTP/1.1\r\n" + host + "Authorization: Basic YTpi\r\n\r\n", 400, `the Authorization field does not begin with Bearer; send "Authorization: Bearer KEY"`, false},
	{"Bearer without a key", "GET /v1/models HTTP/1.1\r\n" + host + "Authorization: Bearer\r\n\r\n", 400, "the Authorization field holds no well-formed key after Bearer; a key is letters, digits and - . _ ~ + / =, without spaces", false},
	{"two words after Bearer", "GET /v1/models HTTP/1.1\r\n" + host + "Authorization: Bearer sk acme\r\n\r\n", 400, "the Authorization field holds no well-formed key after Bearer; a key is letters, digits and - . _ ~ + / =, without spaces", false},
	{"a quoted x-api-key", "GET /v1/models HTTP/1.1\r\n" + host + "X-Api-Key: \"sk\"\r\n\r\n", 400, "the X-Api-Key field holds no well-formed key; a key is letters, digits and - . _ ~ + / =, without spaces", false},
	{"an expectation", post(chat, "Expect: 200-maybe"), 417, "the Expect field holds something other than 100-continue", false},
	{"two Content-Type fields", post(chat, "Content-Type: text/plain"), 400, "the header has two Content-Type fields; send one", false},

	// What a body is said to be.
	{"no Content-Type", "POST /v1/route HTTP/1.1\r\n" + host + bearer + "Content-Length: 2\r\n\r\n{}", 415, `the request has no Content-Type; send JSON as "Content-Type: application/json"`, true},
	{"a form", "POST /v1/route HTTP/1.1\r\n" + host + bearer + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\n{}", 415, `Content-Type is "application/x-www-form-urlencoded"; send JSON as "Content-Type: application/json"`, true},
	{"another character set", "POST /v1/route HTTP/1.1\r\n" + host + bearer + "Content-Type: application/json; charset=utf-16\r\nContent-Length: 2\r\n\r\n{}", 415, `Content-Type is "application/json; charset=utf-16"; send JSON as "Content-Type: application/json"`, true},
	{"compressed", post("{}", "Content-Encoding: gzip"), 415, `Content-Encoding is "gzip"; send the body without content encoding`, true},
	{"a long body", post(strings.Repeat(" ", 3000)), 413, "the body is longer than the limit of 2048 bytes (server.max_body_bytes)", true},
	{"a longer body", post(strings.Repeat(" ", 300_000)), 413, "the body is longer than the limit of 2048 bytes (server.max_body_bytes)", false},
	{"a timeout that is none", "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "X-Request-Timeout: soon\r\nContent-Length: 2\r\n\r\n{}", 400, "X-Request-Timeout should be there once, with seconds or a duration such as 1500ms, above 0 and up to a day", true},
	{"many chunks", "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("100\r\n"+strings.Repeat(" ", 256)+"\r\n", 9) + "0\r\n\r\n", 413, "the body is longer than the limit of 2048 bytes (server.max_body_bytes)", false},
	{"a long header", "GET /v1/models HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 5000) + "\r\n\r\n", 431, "the header is longer than the limit of 4096 bytes (server.max_header_bytes)", false},
	{"a long target", "GET /" + strings.Repeat("x", 5000) + " HTTP/1.1\r\n" + host + "\r\n", 431, "the header is longer than the limit of 4096 bytes (server.max_header_bytes)", false},
	{"no body", post(""), 400, "body (byte 0): found nothing; a body should be one JSON object", true},

	// Who, where and how.
	{"no key", "GET /v1/models HTTP/1.1\r\n" + host + "\r\n", 401, `no API key; send it as "Authorization: Bearer KEY"`, true},
	{"an unknown key", "GET /v1/models HTTP/1.1\r\n" + host + "Authorization: Bearer sk-nobody\r\n\r\n", 401, "", true},
	{"a near path", "GET /v1/model HTTP/1.1\r\n" + host + bearer + "\r\n", 404, "there is no /v1/model here; did you mean /v1/models?", true},
	{"a near path of OpenRouter's", "POST /api/v1/chat/completion HTTP/1.1\r\n" + host + bearer + "Content-Length: 0\r\n\r\n", 404, "there is no /api/v1/chat/completion here; did you mean /v1/chat/completions?", true},
	{"a slash at the end", "GET /v1/models/ HTTP/1.1\r\n" + host + bearer + "\r\n", 404, "there is no /v1/models/ here; did you mean /v1/models?", true},
	{"a far path", "GET /favicon.ico HTTP/1.1\r\n" + host + "\r\n", 404, "there is no /favicon.ico here; GET /openapi.json describes what there is", true},
	{"the wrong method", "GET /v1/chat/completions HTTP/1.1\r\n" + host + bearer + "\r\n", 405, "/v1/chat/completions does not take GET; send POST", true},
	{"another wrong method", "DELETE /v1/models HTTP/1.1\r\n" + host + bearer + "\r\n", 405, "/v1/models does not take DELETE; send GET", true},
	{"an invented method", "BREW /healthz HTTP/1.1\r\n" + host + "\r\n", 405, "/healthz does not take BREW; send GET", true},
}

func TestMalformedRequests(t *testing.T) {
	w := open(t, sim.Profile{}, func(s *engine.Server) { s.MaxBodyBytes, s.MaxHeaderBytes = 2048, 4096 })
	const follower = "GET /healthz HTTP/1.1\r\nHost: router\r\n\r\n"
	for _, m := range malformed {
		t.Run(m.name, func(t *testing.T) {
			c := dial(t, w.Addr())
			go io.WriteString(c, m.raw+follower) // the server may stop reading before the end
			from := bufio.NewReader(c)
			resp, body := read(t, from)
			var envelope struct {
				Error struct {
					Code    int
					Message string
				}
			}
			if err := json.Unmarshal([]byte(body), &envelope); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			message := m.message
			if m.name == "an unknown key" {
				message = envelope.Error.Message // the engine's
			}
			if resp.StatusCode != m.status || envelope.Error.Code != m.status || envelope.Error.Message != message {
				t.Errorf("got %d %s\nwant %d %s", resp.StatusCode, envelope.Error.Message, m.status, message)
			}
			if resp.Close == m.stays {
				t.Errorf("the answer says close: %v", resp.Close)
			}
			if m.stays {
				if resp, _ := read(t, from); resp.StatusCode != http.StatusOK {
					t.Errorf("the request after it got %d", resp.StatusCode)
				}
			} else if rest, err := io.ReadAll(from); err != nil || len(rest) > 0 {
				t.Errorf("after the answer came %q, %v", rest, err)
			}
		})
	}
	if n := w.provider.Counts().Requests; n != 0 {
		t.Errorf("%d of them reached the provider", n)
	}
	if log := w.log.String(); strings.Contains(log, "sk-") {
		t.Errorf("a key is in the log:\n%s", log)
	}
}

func TestWhatLooksOddButIsSound(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	for name, raw := range map[string]string{
		"absolute form":              "GET http://router/v1/models HTTP/1.1\r\n" + host + bearer + "\r\n",
		"the same key in two fields": "GET /v1/models HTTP/1.1\r\n" + host + bearer + "x-api-key: sk-acme\r\n\r\n",
		"only x-api-key":             "GET /v1/models HTTP/1.1\r\n" + host + "X-API-KEY: sk-acme\r\n\r\n",
		"bearer in lower case":       "GET /v1/models HTTP/1.1\r\n" + host + "authorization: bearer  sk-acme \r\n\r\n",
		"a query":                    "GET /v1/models?limit=1 HTTP/1.1\r\n" + host + bearer + "\r\n",
		"empty lines first":          "\r\n\r\nGET /v1/models HTTP/1.1\r\n" + host + bearer + "\r\n",
		"an encoded colon":           "GET /v1/models/m/two%3afree/endpoints HTTP/1.1\r\n" + host + bearer + "\r\n",
		"chunks":                     "POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + fmt.Sprintf("Transfer-Encoding: Chunked\r\n\r\n%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n", 10, chat[:10], len(chat)-10, chat[10:]),
		"a character set":            "POST /v1/route HTTP/1.1\r\n" + host + bearer + fmt.Sprintf("Content-Type: Application/JSON; charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s", len(chat), chat),
		"no encoding":                post(chat, "Content-Encoding: identity"),
		"a whole body of spaces":     post(chat + strings.Repeat(" ", 100_000)),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w.Addr())
			from := bufio.NewReader(c)
			for range 2 { // the second time shows that the first was read to its end
				send(t, c, raw)
				want := http.StatusOK
				if strings.Contains(raw, "%3a") {
					want = http.StatusNotFound
				}
				resp, body := read(t, from)
				if resp.StatusCode != want {
					t.Fatalf("got %d %s", resp.StatusCode, body)
				}
				if want == http.StatusNotFound && !strings.Contains(body, `m/two:free`) {
					t.Errorf("the model was not decoded: %s", body)
				}
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := dial(t, w.Addr())
	from := bufio.NewReader(c)
	head, body, _ := strings.Cut(post(chat, "Expect: 100-continue"), "\r\n\r\n")
	send(t, c, head+"\r\n\r\n")
	resp, err := http.ReadResponse(from, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("got %v, %v before the body", resp, err)
	}
	send(t, c, body)
	if resp, text := read(t, from); resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s", resp.StatusCode, text)
	}
}
