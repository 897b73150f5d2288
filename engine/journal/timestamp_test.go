package journal

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
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

// authority is a time stamp authority made with openssl, whose certificates have the algorithm.
type authority struct {
	dir string
	url string
	mu  sync.Mutex // it counts its serial numbers in a file
}

func openssl(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func newAuthority(t *testing.T, algorithm ...string) *authority {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		missing(t, "openssl is not installed (apt-get install openssl)")
	}
	a := &authority{dir: t.TempDir()}
	for name, text := range map[string]string{
		"serial": "01\n",
		"ts.cnf": `[tsa]
default_tsa = it
[it]
serial = serial
signer_cert = tsa.pem
certs = ca.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
accuracy = secs:1, millisecs:500
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
`,
		"ext.cnf": "extendedKeyUsage = critical,timeStamping\nkeyUsage = critical,digitalSignature\nbasicConstraints = CA:FALSE\n",
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openssl(t, a.dir, append([]string{"req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem", "-newkey"}, algorithm...)...)
	openssl(t, a.dir, append([]string{"req", "-nodes", "-subj", "/CN=test stamps", "-keyout", "tsa.key", "-out", "tsa.csr", "-newkey"}, algorithm...)...)
	openssl(t, a.dir, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext.cnf", "-out", "tsa.pem")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/timestamp-query" {
			http.Error(w, "no query", http.StatusBadRequest)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		query, _ := io.ReadAll(r.Body)
		os.WriteFile(filepath.Join(a.dir, "query.tsq"), query, 0o600)
		cmd := exec.Command("openssl", "ts", "-reply", "-config", "ts.cnf", "-queryfile", "query.tsq", "-out", "answer.tsr")
		cmd.Dir = a.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			http.Error(w, string(out), http.StatusInternalServerError)
			return
		}
		answer, _ := os.ReadFile(filepath.Join(a.dir, "answer.tsr"))
		w.Header().Set("Content-Type", "application/timestamp-reply")
		w.Write(answer)
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *authority) pool(t *testing.T) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("no certificate")
	}
	return pool
}

func TestCheckpointsAreStamped(t *testing.T) {
	for name, algorithm := range map[string][]string{"RSA": {"rsa:2048"}, "ECDSA": {"ec", "-pkeyopt", "ec_paramgen_curve:P-256"}} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, algorithm...)
			dir := t.TempDir()
			for i := range 3 {
				j := open(t, Options{Dir: dir, TimestampURL: a.url})
				j.Append(sample(idOf(i), time.Now(), 2), nil)
				closeJournal(t, j)
			}
			if r := sound(t, dir, Trust{}); r.Unchecked != 3 || r.Stamped != 0 {
				t.Errorf("%+v", r)
			}
			r := sound(t, dir, Trust{Authorities: a.pool(t)})
			if r.Stamped != 3 || r.StampedAt == nil || time.Since(*r.StampedAt) > time.Minute {
				t.Errorf("%+v", r)
			}
			stamps, _ := filepath.Glob(filepath.Join(dir, "timestamps", "*.tsr"))
			for _, path := range stamps { // openssl agrees
				openssl(t, a.dir, "ts", "-verify", "-data", strings.TrimSuffix(path, ".tsr")+".json", "-in", path, "-CAfile", "ca.pem")
			}
			other := newAuthority(t, algorithm...)
			if r, err := Verify(dir, Trust{Authorities: other.pool(t)}); err != nil || len(r.Problems) != 3 || !strings.Contains(r.Problems[0].Message, "not trusted") {
				t.Errorf("an authority that is not trusted: %+v, %v", r, err)
			}
			damage(t, dir, stamps[1], a.pool(t))
		})
	}
}

// damage flips bits of a stamp: none may be taken for one that holds, unless it says the same.
func damage(t *testing.T, dir, path string, pool *x509.CertPool) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(strings.TrimSuffix(path, ".tsr") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	was, err := parseStamp(whole, content)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for bit := 0; bit < 8*len(whole); bit += 7 {
		bad := bytes.Clone(whole)
		bad[bit/8] ^= 1 << (bit % 8)
		s, err := parseStamp(bad, content)
		if err == nil {
			err = s.check(pool)
		}
		if err != nil {
			refused++
		} else if !s.info.Time.Equal(was.info.Time) || !bytes.Equal(s.info.Imprint.Digest, was.info.Imprint.Digest) {
			t.Errorf("bit %d: another stamp is believed", bit)
		}
	}
	if refused < len(whole)*8/7/2 {
		t.Errorf("only %d of %d were refused", refused, len(whole)*8/7)
	}
}

func TestAStampedJournalCannotBeRewritten(t *testing.T) {
	a := newAuthority(t, "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, TimestampURL: a.url})
	j.Append(sample(idOf(1), time.Now(), 2), nil)
	closeJournal(t, j)
	// Who has the key writes it anew, with another record.
	forged := t.TempDir()
	for _, name := range []string{"signing.key", "signing.pub"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(forged, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j = open(t, Options{Dir: forged})
	j.Append(sample(idOf(2), time.Now(), 2), nil)
	closeJournal(t, j)
	sound(t, forged, Trust{})
	if err := os.CopyFS(filepath.Join(forged, "timestamps"), os.DirFS(filepath.Join(dir, "timestamps"))); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(forged, Trust{Authorities: a.pool(t)})
	if err != nil || len(r.Problems) != 1 || !strings.Contains(fmt.Sprint(r.Problems), "that was stamped at") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAnAuthorityThatDoesNotStamp(t *testing.T) {
	for name, answer := range map[string]string{"an error": "", "nonsense": "nonsense", "a refusal": "\x30\x05\x30\x03\x02\x01\x02"} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if answer == "" {
					http.Error(w, "no", http.StatusInternalServerError)
				}
				io.WriteString(w, answer)
			}))
			defer server.Close()
			dir := t.TempDir()
			j := open(t, Options{Dir: dir, TimestampURL: server.URL})
			j.Append(sample(idOf(1), time.Now(), 2), nil)
			closeJournal(t, j)
			if r := sound(t, dir, Trust{}); r.Stamped+r.Unchecked != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func FuzzStamp(f *testing.F) {
	f.Add([]byte("\x30\x05\x30\x03\x02\x01\x02"))
	f.Fuzz(func(t *testing.T, der []byte) {
		if s, err := parseStamp(der, []byte("x")); err == nil && s.check(x509.NewCertPool()) == nil {
			t.Error("a stamp of nobody's is believed")
		}
	})
}

// missing skips a test for want of a program, or fails it where nothing may be wanting.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Whatever bit of a stamp or of the checkpoint that it is of is flipped, it is found; or nothing depends on it (certificates that are
// trusted anyway come with a stamp), and what is proven is the same.
func TestEveryFlippedBitOfAStampIsFound(t *testing.T) {
	a := newAuthority(t, "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, TimestampURL: a.url})
	j.Append(sample(idOf(1), time.Now(), 0), nil)
	closeJournal(t, j)
	trust := Trust{Authorities: a.pool(t)}
	whole := sound(t, dir, trust)
	if whole.Stamped != 1 {
		t.Fatalf("%+v", whole)
	}
	files, err := filepath.Glob(filepath.Join(dir, "timestamps", "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	step, flips, found := 3, 0, 0
	if testing.Short() {
		step = 61
	}
	for _, path := range files {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for bit := 0; bit < 8*len(good); bit += step {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			r := verified(t, dir, trust)
			if len(r.Problems) > 0 {
				found++
			} else if strings.HasSuffix(path, ".json") || r.Stamped != 1 || !r.StampedAt.Equal(*whole.StampedAt) {
				t.Errorf("bit %d of byte %d of %s was flipped and not found", bit%8, bit/8, filepath.Base(path))
			}
			flips++
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d flipped bits are found; nothing depends on the others", found, flips)
	if found < flips/2 {
		t.Error("that is too few")
	}
}
