// Package contract holds what a server answers to the OpenAPI document that it serves: for tests.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"chaperone/engine/wire"
)

// Contract is a served document, ready to be held against answers. It is safe for concurrent use.
type Contract struct {
	paths []path

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
	checked  map[string]int
}

type path struct {
	pattern string
	like    *regexp.Regexp
	methods map[string]operation
}

type operation struct {
	Responses map[string]struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			}
		}
	}
}

const resource = "https://router.invalid/openapi.json" // a name: nothing is fetched

// Read reads a document.
func Read(document []byte) (*Contract, error) {
	var said struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(document, &said); err != nil {
		return nil, err
	}
	c := &Contract{compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}, checked: map[string]int{}}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	if err := c.compiler.AddResource(resource, whole); err != nil {
		return nil, err
	}
	brace := regexp.MustCompile(`\\\{[a-z]+\\\}`)
	for pattern, methods := range said.Paths {
		p := path{pattern: pattern, methods: map[string]operation{},
			like: regexp.MustCompile("^(/api)?" + brace.ReplaceAllString(regexp.QuoteMeta(pattern), "[^/]+") + "$")}
		for method, raw := range methods {
			var o operation
			if err := json.Unmarshal(raw, &o); err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, pattern, err)
			}
			p.methods[strings.ToUpper(method)] = o
		}
		c.paths = append(c.paths, p)
	}
	return c, nil
}

// Checked is how many answers and events were held against each schema.
func (c *Contract) Checked() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for k, v := range c.checked {
		out[k] = v
	}
	return out
}

// find is the operation of a request; the fewest braces win, as in the server's own table.
func (c *Contract) find(method, target string) (operation, bool) {
	best, braces := operation{}, -1
	for _, p := range c.paths {
		n := strings.Count(p.pattern, "{")
		if o, ok := p.methods[method]; ok && p.like.MatchString(target) && (braces < 0 || n < braces) {
			best, braces = o, n
		}
	}
	return best, braces >= 0
}

// Check holds one answer, which may have been cut short where it is a stream, to the document.
func (c *Contract) Check(method, target string, status int, contentType string, body []byte) error {
	o, ok := c.find(method, target)
	if !ok || status < 200 || status == http.StatusNoContent || method == http.MethodHead || method == http.MethodOptions {
		return c.stray(status, contentType, body)
	}
	name := "default"
	if status == http.StatusOK {
		name = "200"
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("Content-Type %q: %w", contentType, err)
	}
	described, ok := o.Responses[name].Content[media]
	if !ok {
		return fmt.Errorf("the document describes no %s with status %d", media, status)
	}
	if media == "text/event-stream" {
		return c.events(described.Schema.Ref, body)
	}
	return c.hold(described.Schema.Ref, body)
}

// stray is an answer of no operation that the document has: it is an error, in either form.
func (c *Contract) stray(status int, contentType string, body []byte) error {
	if status < 400 || len(body) == 0 || !strings.HasPrefix(contentType, "application/json") {
		return nil
	}
	return c.hold("#/components/schemas/AnyError", body)
}

func (c *Contract) events(ref string, body []byte) error {
	events := wire.NewEventReader(bytes.NewReader(body), len(body)+1)
	for {
		ev, err := events.Next()
		if err != nil {
			return nil // the end, or where it was cut
		}
		if ev.Comment || string(bytes.TrimSpace(ev.Data)) == "[DONE]" || len(ev.Data) == 0 {
			continue
		}
		if err := c.hold(ref, ev.Data); err != nil {
			return err
		}
	}
}

func (c *Contract) hold(ref string, text []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.compiled[ref]
	if s == nil {
		var err error
		if s, err = c.compiler.Compile(resource + ref); err != nil {
			return err
		}
		c.compiled[ref] = s
	}
	c.checked[strings.TrimPrefix(ref, "#/components/schemas/")]++
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	if err := s.Validate(value); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// Relay stands between a client of any kind and the server at an address, and tells of every answer that the document does not
// describe.
func (c *Contract) Relay(server *url.URL, wrong func(error)) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(server) },
		Transport:     c.Transport(&http.Transport{DisableCompression: true}, wrong),
		FlushInterval: -1,                         // each event when it comes
		ErrorLog:      log.New(io.Discard, "", 0), // clients that leave and streams that break off are what is tested
	}
}

// Transport passes requests on and tells of every answer that the document does not describe.
func (c *Contract) Transport(to http.RoundTripper, wrong func(error)) http.RoundTripper {
	return &transport{c, to, wrong}
}

type transport struct {
	contract *Contract
	to       http.RoundTripper
	wrong    func(error)
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.to.RoundTrip(r)
	if err == nil {
		resp.Body = &answer{ReadCloser: resp.Body, of: t, request: r, resp: resp}
	}
	return resp, err
}

// answer keeps a copy of a body while it is read, and checks it when it is closed.
type answer struct {
	io.ReadCloser
	of      *transport
	request *http.Request
	resp    *http.Response
	copy    bytes.Buffer
	whole   bool
	once    sync.Once
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	a.copy.Write(p[:n])
	if err == io.EOF {
		a.whole = true
		a.check()
	}
	return n, err
}

func (a *answer) Close() error {
	a.check()
	return a.ReadCloser.Close()
}

func (a *answer) check() {
	a.once.Do(func() {
		media := a.resp.Header.Get("Content-Type")
		if !a.whole && !strings.HasPrefix(media, "text/event-stream") {
			return // not read to its end
		}
		if err := a.of.contract.Check(a.request.Method, a.request.URL.Path, a.resp.StatusCode, media, a.copy.Bytes()); err != nil {
			a.of.wrong(fmt.Errorf("%s %s, status %d: %w", a.request.Method, a.request.URL.Path, a.resp.StatusCode, err))
		}
	})
}
