package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/server"
	"chaperone/engine/sim"
)

// writeCertificate writes a fresh pair for the name, as deployment tools do: each file whole, one after the other.
func writeCertificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	replace(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	replace(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return cert, key
}

func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// presented is the name on the certificate that a new connection gets.
func presented(t *testing.T, w *world) string {
	t.Helper()
	c := tls.Client(dial(t, w.Addr()), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	defer c.Close()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	s := c.ConnectionState()
	if s.Version < tls.VersionTLS12 || s.NegotiatedProtocol != "http/1.1" {
		t.Errorf("negotiated version %x, protocol %q", s.Version, s.NegotiatedProtocol)
	}
	return s.PeerCertificates[0].Subject.CommonName
}

// become waits until a new connection gets the named certificate.
func become(t *testing.T, w *world, name string) {
	t.Helper()
	for deadline := time.Now().Add(patience); presented(t, w) != name; {
		if time.Now().After(deadline) {
			t.Fatalf("still no certificate %q", name)
		}
	}
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	w := open(t, sim.Profile{}, func(s *engine.Server) { s.TLSCertificate, s.TLSKey = writeCertificate(t, dir, "first") })
	if got := presented(t, w); got != "first" {
		t.Fatalf("got %q", got)
	}
	writeCertificate(t, dir, "second")
	become(t, w, "second")

	_, key := writeCertificate(t, t.TempDir(), "other")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "tls.key"), text)
	for deadline := time.Now().Add(patience); !strings.Contains(w.log.String(), "the TLS certificate has changed but cannot be used; the old one stays"); {
		if got := presented(t, w); got != "second" {
			t.Fatalf("with a broken pair: %q", got)
		}
		if time.Now().After(deadline) {
			t.Fatal("the broken pair was not logged")
		}
	}
	if err := os.Remove(filepath.Join(dir, "tls.crt")); err != nil {
		t.Fatal(err)
	}
	if got := presented(t, w); got != "second" {
		t.Fatalf("without a file: %q", got)
	}
	writeCertificate(t, dir, "third")
	become(t, w, "third")
}

func TestABrokenCertificateStopsTheStart(t *testing.T) {
	cert, _ := writeCertificate(t, t.TempDir(), "a")
	_, key := writeCertificate(t, t.TempDir(), "b")
	_, err := server.New(nil, engine.Server{TLSCertificate: cert, TLSKey: key}, nil, nil)
	want := "cannot use " + cert + " with " + key + ": tls: private key does not match public key"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	_, err = server.New(nil, engine.Server{TLSCertificate: cert + "x", TLSKey: key}, nil, nil)
	if want := "stat " + cert + "x: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
