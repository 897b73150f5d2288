package journal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// What callers say of themselves may name people, who may ask to be forgotten. An append-only journal cannot forget, so that
// claims stand in it under a key per month and organisation: without the key they are noise, and the chain holds all the same.

// Sealed is claims under AES-256-GCM: a nonce of 12 bytes and what it seals, in base64.
type Sealed struct {
	Month string `json:"month"`         // in UTC, 2006-01: names the key's file, with the organisation
	Key   string `json:"key,omitempty"` // names the key: where one was destroyed there may be another in its place; "" in the oldest
	Box   string `json:"box"`           // "": they could not be sealed when they were made, and are lost
	// Undeciding says that policies and scorers read nothing of them: without their key, too, the decision can be made again.
	Undeciding bool `json:"undeciding,omitempty"`
}

// ErrErased is returned for claims whose key has been destroyed, and for those that could not be sealed.
var ErrErased = errors.New("the key to these claims has been destroyed")

const monthForm = "2006-01"

// claimKeys are the keys below a folder, MONTH/ORGANISATION.key.
type claimKeys struct {
	dir   string
	keeps bool // what unseal has read too: for one reading of the journal

	mu   sync.RWMutex
	open map[claimKey]*opener
}

type claimKey struct{ month, organisation string }

// opener is a key that is ready for use.
type opener struct {
	cipher.AEAD
	name string
}

func newClaimKeys(dir string) *claimKeys {
	return &claimKeys{dir: filepath.Join(dir, "claim-keys"), open: map[claimKey]*opener{}}
}

func (k *claimKeys) path(id claimKey) string {
	return filepath.Join(k.dir, id.month, url.PathEscape(id.organisation)+".key")
}

// seal seals claims under the key of the record's month, which it makes where there is none, and leaves them in in.sealed. Where that
// fails, what is there says that there were claims.
func (k *claimKeys) seal(r *Record, in *room) error {
	id := claimKey{r.At.UTC().Format(monthForm), r.Organisation}
	s := Sealed{Month: id.month, Undeciding: !r.Claims.decide()}
	k.mu.RLock()
	key := k.open[id]
	k.mu.RUnlock()
	if key == nil {
		var err error
		if key, err = k.make(id); err != nil {
			in.sealed = s.appendJSON(in.sealed[:0], nil)
			return err
		}
	}
	in.claims = r.Claims.appendJSON(append(in.claims[:0], r.ID...))
	in.box = slices.Grow(in.box[:0], key.NonceSize())[:key.NonceSize()]
	rand.Read(in.box) // never fails: crypto/rand ends the process instead
	in.box = key.Seal(in.box, in.box, in.claims[len(r.ID):], in.claims[:len(r.ID)])
	s.Key = key.name
	in.sealed = s.appendJSON(in.sealed[:0], in.box)
	return nil
}

// decide says whether something is claimed that policy.ClaimsInput or a scorer's table has.
func (c *Claims) decide() bool {
	return c.User != "" || len(c.Metadata) > 0 || len(c.Tags) > 0 || c.DataClass != ""
}

// make reads or makes a key. Keys of months that have passed are forgotten here, so that destroying a file is the end of one.
func (k *claimKeys) make(id claimKey) (*opener, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key := k.open[id]; key != nil {
		return key, nil
	}
	path := k.path(id)
	key, err := readClaimKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		var secret [secretBytes]byte
		rand.Read(secret[:])
		sum := sha256.Sum256(secret[:])
		if err = writeWhole(path, append(secret[:], sum[:checkBytes]...)); err != nil {
			return nil, err
		}
		key, err = readClaimKey(path)
	}
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Format(monthForm)
	for other := range k.open {
		if other.month != id.month && other.month != now {
			delete(k.open, other)
		}
	}
	k.open[id] = key
	return key, nil
}

// A key's file is the key and the beginning of its SHA-256, which is also its name. The oldest have the key alone.
const (
	secretBytes = 32
	checkBytes  = 8
)

func readClaimKey(path string) (*opener, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(text) != secretBytes && len(text) != secretBytes+checkBytes {
		return nil, fmt.Errorf("%s: found %d bytes; a key and its checksum have %d", path, len(text), secretBytes+checkBytes)
	}
	secret, check := text[:secretBytes], text[secretBytes:]
	sum := sha256.Sum256(secret)
	if len(check) > 0 && !bytes.Equal(sum[:checkBytes], check) {
		return nil, fmt.Errorf("%s: the key does not have its checksum: the file was changed", path)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &opener{aead, hex.EncodeToString(sum[:checkBytes])}, err
}

// unseal puts a record's claims back in the clear. The error is ErrErased where their key is gone.
func (k *claimKeys) unseal(r *Record) error {
	if r.Sealed == nil {
		return nil
	}
	claims, err := k.claims(r.ID, r.Organisation, r.Sealed)
	if err == nil {
		r.Claims, r.Sealed = claims, nil
	}
	return err
}

// claims are those that are sealed in the record of that id.
func (k *claimKeys) claims(record, organisation string, s *Sealed) (*Claims, error) {
	if _, err := time.Parse(monthForm, s.Month); err != nil {
		return nil, fmt.Errorf("sealed claims name the month %q; expected one such as 2026-11", s.Month)
	}
	if s.Box == "" {
		return nil, ErrErased
	}
	key, err := k.opener(claimKey{s.Month, organisation})
	if errors.Is(err, fs.ErrNotExist) || err == nil && s.Key != "" && key.name != s.Key {
		return nil, ErrErased
	}
	if err != nil {
		return nil, err
	}
	box, err := base64.StdEncoding.DecodeString(s.Box)
	if err != nil || len(box) < key.NonceSize() {
		return nil, errors.New("sealed claims are no base64 of a nonce and what follows it")
	}
	text, err := key.Open(nil, box[:key.NonceSize()], box[key.NonceSize():], []byte(record))
	if err != nil {
		return nil, fmt.Errorf("their key does not open the claims of %s: they were changed", record)
	}
	claims := new(Claims)
	return claims, json.Unmarshal(text, claims)
}

func (k *claimKeys) opener(id claimKey) (key *opener, err error) {
	if k.keeps {
		k.mu.RLock()
		key = k.open[id]
		k.mu.RUnlock()
	}
	if key == nil {
		key, err = readClaimKey(k.path(id))
		if k.keeps && err == nil {
			k.mu.Lock()
			k.open[id] = key
			k.mu.Unlock()
		}
	}
	return key, err
}

// Erase destroys the key to the claims that an organisation's callers made in a month, 2006-01: they cannot be read any more,
// wherever copies of the journal are. A router that runs seals no further claims under it once the month is over, and until
// then keeps it in memory. The error is fs.ErrNotExist where there is no such key.
func Erase(dir, organisation, month string) error {
	if _, err := time.Parse(monthForm, month); err != nil {
		return fmt.Errorf("found the month %q; expected one such as 2026-11", month)
	}
	k := newClaimKeys(dir)
	path := k.path(claimKey{month, organisation})
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		// Overwritten first: where the file system writes in place, nothing is left to be found.
		_, err = f.Write(make([]byte, secretBytes+checkBytes))
		err = errors.Join(err, f.Sync(), f.Close())
		if err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}
