package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var quietLog = slog.New(slog.DiscardHandler)

func clientAuth(pool *x509.CertPool) *tls.Config {
	return &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
}

// opa runs the stock command.
func opa(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
			t.Fatal("the go command is needed to run opa: https://go.dev/dl")
		}
		t.Skip("needs the go command to run opa: https://go.dev/dl")
	}
	if out, err := exec.Command("go", append([]string{"tool", "opa"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("opa %s: %v\n%s", args, err, out)
	}
}

// workshop makes bundles with the stock opa command.
type workshop struct {
	dir               string
	public, secret    string // PEM files of a key
	otherPub, otherNo string // of another one
}

var makeKeys = sync.OnceValue(func() [4][]byte {
	var out [4][]byte
	for i := range 2 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			panic(err)
		}
		out[2*i] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
		out[2*i+1] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	}
	return out
})

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{dir: t.TempDir()}
	keys := makeKeys()
	for i, to := range []*string{&w.public, &w.secret, &w.otherPub, &w.otherNo} {
		*to = filepath.Join(w.dir, fmt.Sprintf("key%d.pem", i))
		if err := os.WriteFile(*to, keys[i], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

const bundled = "package org.bundled\n\ndeny contains \"not alpha\" if input.endpoint.provider != \"%s\"\n"

// build is a bundle of one module; secret is the key that signs it, "" for none.
func (w *workshop) build(t *testing.T, module, secret string, extra ...string) []byte {
	t.Helper()
	src, err := os.MkdirTemp(w.dir, "src")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "p.rego"), []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	out := src + ".tar.gz"
	args := []string{"build", "-b", src, "-o", out}
	if secret != "" {
		args = append(args, "--signing-key", secret)
	}
	opa(t, append(args, extra...)...)
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// edited is a bundle with files changed by what edit returns; nil leaves one out. add are further files.
func edited(t *testing.T, text []byte, edit func(name string, text []byte) []byte, add map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tape := tar.NewWriter(zip)
	write := func(name string, text []byte) {
		if err := tape.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tape.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if text != nil {
		unzip, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for tape := tar.NewReader(unzip); ; {
			h, err := tape.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(tape)
			if err != nil {
				t.Fatal(err)
			}
			if body = edit(h.Name, body); body != nil {
				write(h.Name, body)
			}
		}
	}
	for name, body := range add {
		write(name, []byte(body))
	}
	if err := tape.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func same(_ string, text []byte) []byte { return text }

// bundleFiles is a configuration with one source, and one binding of org.bundled for everyone.
func bundleFiles(source string) files {
	return files{"chaperone.toml": "[[policy.sources]]\nname = \"central\"\n" + source + "\n[[policy.bindings]]\npackage = \"org.bundled\"\nfor = \"everyone\"\n"}
}

func TestBundlesOnDisk(t *testing.T) {
	w := newWorkshop(t)
	module := fmt.Sprintf(bundled, "alpha")
	plain, signed := w.build(t, module, ""), w.build(t, module, w.secret)
	verify := fmt.Sprintf("verification_key = %q\n", w.public)
	for _, c := range []struct {
		name   string
		text   []byte
		source string // beside bundle = …
		why    string // it is refused; "": it is not
	}{
		{"plain, no key", plain, "", ""},
		{"signed, no key", signed, "", ""},
		{"signed, right key", signed, verify, ""},
		{"unsigned", plain, verify, "missing .signatures.json"},
		{"signed by somebody else", w.build(t, module, w.otherNo), verify, "failed to verify JWT signature"},
		{"the key of somebody else", signed, fmt.Sprintf("verification_key = %q\n", w.otherPub), "failed to verify JWT signature"},
		{"another scope", signed, verify + "scope = \"production\"\n", "scope mismatch"},
		{"the right scope", w.build(t, module, w.secret, "--claims-file", w.claims(t, `{"scope": "production"}`)), verify + "scope = \"production\"\n", ""},
		{"another algorithm", signed, verify + "algorithm = \"ES256\"\n", "refused"},
		{"signature cut out", edited(t, signed, func(name string, text []byte) []byte {
			if strings.HasSuffix(name, ".signatures.json") {
				return nil
			}
			return text
		}, nil), verify, "missing .signatures.json"},
		{"an empty list of signatures", edited(t, signed, func(name string, text []byte) []byte {
			if strings.HasSuffix(name, ".signatures.json") {
				return []byte(`{"signatures": []}`)
			}
			return text
		}, nil), verify, "refused"},
		{"partly signed: a file more", edited(t, signed, same, map[string]string{"/q.rego": "package org.q\n\ndeny contains \"x\" if input.request.stream\n"}), verify, "not included in bundle signature"},
		{"partly signed: a file less", edited(t, signed, func(name string, text []byte) []byte {
			if strings.HasSuffix(name, "p.rego") {
				return nil
			}
			return text
		}, nil), verify, "specified in bundle signatures but not found"},
		{"a rule changed", edited(t, signed, func(name string, text []byte) []byte {
			return bytes.ReplaceAll(text, []byte(`"alpha"`), []byte(`"trainer"`))
		}, nil), verify, "digest mismatch"},
		{"a delta bundle", edited(t, nil, same, map[string]string{"/patch.json": `{"data": [{"op": "upsert", "path": "/a", "value": 1}]}`}), verify, "delta bundle"},
		{"a delta bundle, no key", edited(t, nil, same, map[string]string{"/patch.json": `{"data": [{"op": "upsert", "path": "/a", "value": 1}]}`}), "", "delta bundle"},
		{"data", edited(t, plain, func(name string, text []byte) []byte {
			if strings.HasSuffix(name, "data.json") {
				return []byte(`{"lists": {"blocked": ["alpha"]}}`)
			}
			return text
		}, nil), "", "it holds data (lists), which policies here do not read"},
		{"no rules", edited(t, nil, same, map[string]string{"/data.json": `{}`}), "", "holds no .rego file"},
		{"no bundle", []byte("PK"), "", "the bundle cannot be read"},
		{"rules that do not parse", edited(t, nil, same, map[string]string{"/p.rego": "package org.bundled\n\ndeny contains"}), "", "p.rego:3: rego_parse_error"},
		{"rules that break the contract", w.build(t, "package org.bundled\n\ndeny contains \"x\" if input.endpoint.data_polcy.training != \"no\"\n", ""), "", "p.rego:3: input.endpoint.data_polcy does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := bundleFiles("bundle = \"central.tar.gz\"\n" + c.source)
			f["central.tar.gz"] = string(c.text)
			set, problems := f.load(t)
			if c.why != "" {
				if !strings.Contains(problems.Error(), c.why) || !strings.Contains(problems.Error(), "central.tar.gz") {
					t.Fatalf("no %q in %v", c.why, problems)
				}
				return
			}
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			j := set.Judge(context.Background(), query())
			if got := permitted(j); got != "alpha" {
				t.Fatalf("permitted %q", got)
			}
			if r := j.Verdicts[1].Denials[0]; !strings.Contains(r.File, "/central.tar.gz/") || !strings.HasSuffix(r.File, "/p.rego") || r.Line != 3 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func (w *workshop) claims(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(w.dir, "claims.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var sourceMistakes = []struct{ name, source, want string }{
	{"neither", "", "path: missing; expected path = "},
	{"both", "path = \"rego\"\nbundle = \"a.tar.gz\"\n", "path is set too"},
	{"a bundle that is not there", "bundle = \"a.tar.gz\"\n", `found "a.tar.gz": no such file or directory`},
	{"a token for a file", "bundle = \"a.tar.gz\"\ntoken_env = \"T\"\n", "token_env: only a bundle that is fetched has it"},
	{"a signature of a directory", "path = \"rego\"\nverification_key = \"k\"\n", "verification_key: only bundles are signed"},
	{"a scope without a key", "bundle = \"a.tar.gz\"\nscope = \"s\"\n", "scope: there is no verification_key"},
	{"an unknown algorithm", "bundle = \"a.tar.gz\"\nverification_key = \"k\"\nalgorithm = \"none\"\n", `algorithm: found "none"`},
	{"a key that is not there", "bundle = \"a.tar.gz\"\nverification_key = \"k\"\n", `verification_key: found "k": no such file`},
	{"an address in the clear", "bundle = \"http://policies.example/a.tar.gz\"\n", "use https://"},
	{"a user in an address", "bundle = \"https://a:b@policies.example/a.tar.gz\"\n", "without a user in it"},
	{"a variable that is not set", "bundle = \"https://policies.example/a.tar.gz\"\ntoken_env = \"CHAPERONE_NOT_SET\"\n", "the variable CHAPERONE_NOT_SET is not set"},
	{"two tokens", "bundle = \"https://policies.example/a.tar.gz\"\ntoken_env = \"A\"\ntoken_file = \"b\"\n", "keep one"},
	{"half a certificate", "bundle = \"https://policies.example/a.tar.gz\"\ncertificate = \"chaperone.toml\"\n", "certificate and key belong together"},
	{"a CA that is none", "bundle = \"https://policies.example/a.tar.gz\"\nca = \"chaperone.toml\"\n", "found no certificate"},
}

func TestMistakesInSources(t *testing.T) {
	for _, c := range sourceMistakes {
		t.Run(c.name, func(t *testing.T) {
			_, problems := bundleFiles(c.source).load(t)
			if !strings.Contains(problems.Error(), c.want) {
				t.Fatalf("no %q in %v", c.want, problems)
			}
		})
	}
	f := files{"chaperone.toml": "\n", "team.toml": "organisation = \"acme\"\nteam = \"fraud\"\n[[policy.sources]]\nname = \"a\"\nbundle = \"https://evil.example/a.tar.gz\"\ntoken_env = \"HOME\"\n"}
	if _, problems := f.load(t); !strings.Contains(problems.Error(), "a team's file may only name directories and bundles on disk") {
		t.Fatal(problems)
	}
}

// server serves bundles, and remembers what it was asked.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	text     []byte
	etag     string
	down     bool
	asked    int
	unbroken int // answers 304
	refuse   func(*http.Request) string
}

func newServer(t *testing.T, start func(http.Handler) *httptest.Server) *server {
	s := &server{}
	s.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		switch {
		case s.down:
			panic(http.ErrAbortHandler)
		case s.refuse != nil && s.refuse(r) != "":
			http.Error(w, s.refuse(r), http.StatusForbidden)
		case s.etag != "" && r.Header.Get("If-None-Match") == s.etag:
			s.unbroken++
			w.WriteHeader(http.StatusNotModified)
		default:
			if s.etag != "" {
				w.Header().Set("ETag", s.etag)
			}
			_, _ = w.Write(s.text)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(text []byte, etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text, s.etag, s.down = text, etag, false
}

func (s *server) goAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
}

func (s *server) requests() (asked, unbroken int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.unbroken
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if holds() {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("in vain: %s", what)
}

// follower loads anew whenever Poll says that something has come, as the engine does.
type follower struct {
	t       *testing.T
	files   files
	bundles *Bundles
	mu      sync.Mutex
	set     *Set
	failed  string
}

func (f *follower) load() {
	c := f.files.config(f.t)
	c.Bundles = f.bundles
	set, problems := Load(context.Background(), c)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = problems.Error()
	if set != nil {
		f.set = set
	}
}

func (f *follower) permitted() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := query()
	q.Now = time.Now()
	return permitted(f.set.Judge(context.Background(), q))
}

func follow(t *testing.T, f files, dir string) *follower {
	t.Helper()
	follower := &follower{t: t, files: f, bundles: NewBundles(dir, quietLog)}
	follower.load()
	if follower.set == nil {
		t.Fatal(follower.failed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); follower.bundles.Poll(ctx, follower.load) }()
	t.Cleanup(func() { cancel(); <-done })
	return follower
}

func TestABundleServerIsFollowed(t *testing.T) {
	w := newWorkshop(t)
	s := newServer(t, httptest.NewServer)
	first, second := w.build(t, fmt.Sprintf(bundled, "alpha"), w.secret), w.build(t, fmt.Sprintf(bundled, "trainer"), w.secret)
	s.serve(first, `"1"`)
	source := fmt.Sprintf("bundle = \"%s/bundle.tar.gz\"\npoll = \"10ms\"\nverification_key = %q\n", s.URL, w.public)
	dir := t.TempDir()
	f := follow(t, bundleFiles(source), dir)
	if got := f.permitted(); got != "alpha" {
		t.Fatalf("permitted %q", got)
	}
	eventually(t, "answers of 304", func() bool { _, n := s.requests(); return n > 2 })

	s.serve(second, `"2"`)
	eventually(t, "the second bundle", func() bool { return f.permitted() == "trainer" })
	digest := f.bundles.Report()[0].Digest

	// What is not signed, what is signed by others, and rules that cannot be loaded, change nothing.
	for i, bad := range [][]byte{
		w.build(t, fmt.Sprintf(bundled, "american"), ""), w.build(t, fmt.Sprintf(bundled, "american"), w.otherNo),
		w.build(t, "package org.bundled\n\nallow if input.endpoint.nonsense\n", w.secret), []byte("<html>"),
	} {
		asked, _ := s.requests()
		s.serve(bad, fmt.Sprintf("\"bad%d\"", i))
		eventually(t, "an error in the report", func() bool { n, _ := s.requests(); return n > asked+1 && f.bundles.Report()[0].Error != "" })
		if got := f.permitted(); got != "trainer" || f.bundles.Report()[0].Digest != digest {
			t.Fatalf("bad bundle %d: permitted %q", i, got)
		}
		f.load() // for another reason: it must go well
		if f.failed != "" || f.permitted() != "trainer" {
			t.Fatalf("bad bundle %d: a reload fails: %s", i, f.failed)
		}
	}
	// The first one again is an old one, however well it is signed.
	s.serve(first, `"1"`)
	eventually(t, "an error in the report", func() bool {
		return strings.Contains(f.bundles.Report()[0].Error, "it has been in force before and was replaced since")
	})
	if got := f.permitted(); got != "trainer" {
		t.Fatalf("an old bundle: permitted %q", got)
	}
	s.serve(w.build(t, fmt.Sprintf(bundled, "alpha"), w.secret, "--revision", "3"), `"3"`)
	eventually(t, "the first bundle's rules, signed anew", func() bool { return f.permitted() == "alpha" })
	eventually(t, "no error in the report", func() bool { return f.bundles.Report()[0].Error == "" })

	// The server is gone: the last good bundle stays, its age grows.
	s.goAway()
	eventually(t, "an error in the report", func() bool { return f.bundles.Report()[0].Error != "" })
	age := f.bundles.Report()[0].Age
	eventually(t, "an age that grows", func() bool { return f.bundles.Report()[0].Age > age })
	if got := f.permitted(); got != "alpha" {
		t.Fatalf("without its server: permitted %q", got)
	}
	// And a process that starts now finds it on disk, verified anew.
	restarted := &follower{t: t, files: bundleFiles(source), bundles: NewBundles(dir, quietLog)}
	restarted.load()
	if restarted.set == nil || restarted.permitted() != "alpha" {
		t.Fatalf("after a start without the server: %s", restarted.failed)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if err := os.WriteFile(kept[0], w.build(t, fmt.Sprintf(bundled, "american"), w.otherNo), 0o600); err != nil {
		t.Fatal(err)
	}
	tampered := &follower{t: t, files: bundleFiles(source), bundles: NewBundles(dir, quietLog)}
	if tampered.load(); tampered.set != nil {
		t.Fatal("a bundle that was changed on disk is used")
	}
}

func TestABundleThatIsTooOldRefusesRequests(t *testing.T) {
	w := newWorkshop(t)
	s := newServer(t, httptest.NewServer)
	s.serve(w.build(t, fmt.Sprintf(bundled, "alpha"), ""), `"1"`)
	c := bundleFiles(fmt.Sprintf("bundle = \"%s/b\"\nmax_age = \"1h\"\npoll = \"1h\"\n", s.URL)).config(t)
	set, problems := Load(context.Background(), c)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	q := query()
	for _, at := range []struct {
		after time.Duration
		want  string
	}{{0, "alpha"}, {59 * time.Minute, "alpha"}, {61 * time.Minute, ""}, {0, "alpha"}} {
		q.Now = time.Now().Add(at.after)
		j := set.Judge(context.Background(), q)
		if got := permitted(j); got != at.want {
			t.Errorf("after %s: permitted %q", at.after, got)
		}
		if at.want == "" && (len(j.Rejections) != 1 || j.Rejections[0].Code != "policy_stale" || !strings.Contains(j.Rejections[0].Message, "max_age is 1h0m0s")) {
			t.Errorf("%+v", j.Rejections)
		}
	}
}

func TestABundleServerThatAsksForAToken(t *testing.T) {
	w := newWorkshop(t)
	s := newServer(t, httptest.NewServer)
	s.serve(w.build(t, fmt.Sprintf(bundled, "alpha"), ""), "")
	s.refuse = func(r *http.Request) string {
		if r.Header.Get("Authorization") != "Bearer open sesame" {
			return "who are you?"
		}
		return ""
	}
	source := "bundle = \"" + s.URL + "/b\"\n"
	if _, problems := bundleFiles(source).load(t); !strings.Contains(problems.Error(), "the server answered 403 Forbidden") || strings.Contains(problems.Error(), "sesame") {
		t.Error(problems)
	}
	t.Setenv("CHAPERONE_POLICY_TOKEN", "open sesame")
	f := bundleFiles(source + "token_env = \"CHAPERONE_POLICY_TOKEN\"\n")
	if got := permitted(f.mustLoad(t).Judge(context.Background(), query())); got != "alpha" {
		t.Errorf("token_env: %q", got)
	}
	f = bundleFiles(source + "token_file = \"token\"\n")
	f["token"] = "open sesame\n"
	if got := permitted(f.mustLoad(t).Judge(context.Background(), query())); got != "alpha" {
		t.Errorf("token_file: %q", got)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	w := newWorkshop(t)
	there := newServer(t, httptest.NewServer)
	there.serve(w.build(t, fmt.Sprintf(bundled, "alpha"), ""), "")
	here := httptest.NewServer(http.RedirectHandler(there.URL, http.StatusFound))
	t.Cleanup(here.Close)
	if _, problems := bundleFiles("bundle = \"" + here.URL + "/b\"\n").load(t); !strings.Contains(problems.Error(), "302 Found") {
		t.Error(problems)
	}
	if n, _ := there.requests(); n != 0 {
		t.Errorf("%d requests went on", n)
	}
}

func TestABundleServerThatAsksForACertificate(t *testing.T) {
	w := newWorkshop(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "router"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		s.TLS = clientAuth(pool)
		s.StartTLS()
		return s
	})
	s.serve(w.build(t, fmt.Sprintf(bundled, "alpha"), ""), "")
	with := func(source string) files {
		f := bundleFiles("bundle = \"" + s.URL + "/b\"\n" + source)
		f["client.pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		f["client.key"] = string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
		f["ca.pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
		return f
	}
	if _, problems := with("certificate = \"client.pem\"\nkey = \"client.key\"\n").load(t); !strings.Contains(problems.Error(), "certificate signed by unknown authority") {
		t.Errorf("without its CA: %v", problems)
	}
	if _, problems := with("ca = \"ca.pem\"\n").load(t); !strings.Contains(problems.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", problems)
	}
	if got := permitted(with("ca = \"ca.pem\"\ncertificate = \"client.pem\"\nkey = \"client.key\"\n").mustLoad(t).Judge(context.Background(), query())); got != "alpha" {
		t.Errorf("permitted %q", got)
	}
}
