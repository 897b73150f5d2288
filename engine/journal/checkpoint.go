package journal

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Checkpoint is a signed statement of what the journal held at a moment. Whoever keeps one elsewhere can tell whether
// anything before it has been changed since.
type Checkpoint struct {
	Replica   string    `json:"replica"` // first 16 hex digits of the SHA-256 of Key
	Count     uint64    `json:"count"`   // frames before it
	Head      string    `json:"head"`    // of their chain, hex
	At        time.Time `json:"at"`
	Key       string    `json:"key"`       // Ed25519 public key, hex
	Signature string    `json:"signature"` // hex, of what statement writes
}

// statement is what is signed.
func (c *Checkpoint) statement() []byte {
	return fmt.Appendf(nil, "chaperone journal checkpoint 1\n%s\n%d\n%s\n%s\n", c.Replica, c.Count, c.Head, c.At.UTC().Format(time.RFC3339Nano))
}

// Check holds the signature against the checkpoint's own key.
func (c *Checkpoint) Check() error {
	key, err := hex.DecodeString(c.Key)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("the checkpoint's key is no Ed25519 public key of %d hex digits", 2*ed25519.PublicKeySize)
	}
	if want := replicaOf(key); c.Replica != want {
		return fmt.Errorf("the checkpoint is of replica %q, and its key is that of %s", c.Replica, want)
	}
	signature, err := hex.DecodeString(c.Signature)
	if err != nil || !ed25519.Verify(key, c.statement(), signature) {
		return errors.New("the checkpoint's signature does not hold")
	}
	return nil
}

func replicaOf(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// signer makes checkpoints.
type signer struct {
	key     ed25519.PrivateKey
	public  string // hex
	replica string
}

func (s *signer) sign(at chain, now time.Time) Checkpoint {
	c := Checkpoint{Replica: s.replica, Count: at.count, Head: hex.EncodeToString(at.head[:]), At: now.UTC(), Key: s.public}
	c.Signature = hex.EncodeToString(ed25519.Sign(s.key, c.statement()))
	return c
}

// openSigner reads the key of a folder, or makes one at first use. A journal that was signed with another is not gone on with: it
// would not verify any more. signing.pub is for those who verify.
func openSigner(dir string) (*signer, error) {
	path := filepath.Join(dir, "signing.key")
	before, err := signedWith(dir)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	var key ed25519.PrivateKey
	switch {
	case errors.Is(err, fs.ErrNotExist) && before != "":
		return nil, fmt.Errorf("%s is missing, and the journal was signed with it: %s", path, mendKey)
	case errors.Is(err, fs.ErrNotExist):
		if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		if err := writeWhole(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("%s: found no PEM block; expected an Ed25519 private key in PKCS #8", path)
		}
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		var ok bool
		if key, ok = any.(ed25519.PrivateKey); err != nil || !ok {
			return nil, fmt.Errorf("%s: expected an Ed25519 private key in PKCS #8", path)
		}
	}
	public := key.Public().(ed25519.PublicKey)
	s := &signer{key: key, public: hex.EncodeToString(public), replica: replicaOf(public)}
	if before != "" && before != s.public {
		return nil, fmt.Errorf("%s is not the key %s that the journal was signed with; it was changed or exchanged: %s", path, before, mendKey)
	}
	shown := filepath.Join(dir, "signing.pub")
	if had, err := os.ReadFile(shown); err != nil || string(had) != s.public+"\n" {
		if err := writeWhole(shown, []byte(s.public+"\n")); err != nil {
			return nil, err
		}
	}
	return s, nil
}

const mendKey = "put it back from a copy, or move the folder away to begin another journal"

// signedWith is the public key of the last segment that can be read; "" where there is none.
func signedWith(dir string) (string, error) {
	all, err := segments(dir)
	for i := range slices.Backward(all) {
		if h, err := all[i].header(); err == nil {
			return h.Key, nil
		}
	}
	return "", err
}

// ReadCheckpoints reads checkpoints as anchoring hands them out: JSON objects, one after the other.
func ReadCheckpoints(r io.Reader) ([]Checkpoint, error) {
	var all []Checkpoint
	for d := json.NewDecoder(r); ; {
		var c Checkpoint
		err := d.Decode(&c)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("checkpoint %d: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
}
