package journal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// What callers say of themselves may name people, who may ask to be forgotten. An append-only journal cannot forget, so that
// claims stand in it under a key per month and organisation: without the key they are noise, and the chain holds all the same.

// Sealed is claims under AES-256-GCM: a nonce of 12 bytes and what it seals, in base64.
type Sealed struct {
	Month string `json:"month"` // in UTC, 2006-01: names the key, with the organisation
	Box   string `json:"box"`
}

// ErrErased is returned for claims whose key has been destroyed.
var ErrErased = errors.New("the key to these claims has been destroyed")

const monthForm = "2006-01"

// claimKeys are the keys below a folder, MONTH/ORGANISATION.key.
type claimKeys struct {
	dir   string
	keeps bool // what unseal has read too: for one reading of the journal

	mu   sync.RWMutex
	open map[claimKey]cipher.AEAD
}

type claimKey struct{ month, organisation string }

func newClaimKeys(dir string) *claimKeys {
	return &claimKeys{dir: filepath.Join(dir, "claim-keys"), open: map[claimKey]cipher.AEAD{}}
}

func (k *claimKeys) path(id claimKey) string {
	return filepath.Join(k.dir, id.month, url.PathEscape(id.organisation)+".key")
}

// seal seals claims under the key of the record's month, which it makes where there is none.
func (k *claimKeys) seal(r *Record) (*Sealed, error) {
	id := claimKey{r.At.UTC().Format(monthForm), r.Organisation}
	k.mu.RLock()
	aead := k.open[id]
	k.mu.RUnlock()
	if aead == nil {
		var err error
		if aead, err = k.make(id); err != nil {
			return nil, err
		}
	}
	box := make([]byte, aead.NonceSize(), 256)
	rand.Read(box) // never fails: crypto/rand ends the process instead
	box = aead.Seal(box, box, r.Claims.appendJSON(nil), []byte(r.ID))
	return &Sealed{id.month, base64.StdEncoding.EncodeToString(box)}, nil
}

// make reads or makes a key. Keys of months that have passed are forgotten here, so that destroying a file is the end of one.
func (k *claimKeys) make(id claimKey) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if aead := k.open[id]; aead != nil {
		return aead, nil
	}
	path := k.path(id)
	aead, err := readClaimKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		var secret [32]byte
		rand.Read(secret[:])
		if err = writeWhole(path, secret[:]); err != nil {
			return nil, err
		}
		aead, err = readClaimKey(path)
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
	k.open[id] = aead
	return aead, nil
}

func readClaimKey(path string) (cipher.AEAD, error) {
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(secret) != 32 {
		return nil, fmt.Errorf("%s: found %d bytes; a key has 32", path, len(secret))
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// unseal puts a record's claims back in the clear. The error is ErrErased where their key is gone.
func (k *claimKeys) unseal(r *Record) error {
	if r.Sealed == nil {
		return nil
	}
	if _, err := time.Parse(monthForm, r.Sealed.Month); err != nil {
		return fmt.Errorf("sealed claims name the month %q; expected one such as 2026-11", r.Sealed.Month)
	}
	aead, path, err := k.opener(claimKey{r.Sealed.Month, r.Organisation})
	if errors.Is(err, fs.ErrNotExist) {
		return ErrErased
	}
	if err != nil {
		return err
	}
	box, err := base64.StdEncoding.DecodeString(r.Sealed.Box)
	if err != nil || len(box) < aead.NonceSize() {
		return fmt.Errorf("sealed claims are no base64 of a nonce and what follows it")
	}
	text, err := aead.Open(nil, box[:aead.NonceSize()], box[aead.NonceSize():], []byte(r.ID))
	if err != nil {
		return fmt.Errorf("%s does not open the claims of %s: either was changed", path, r.ID)
	}
	var claims Claims
	if err := json.Unmarshal(text, &claims); err != nil {
		return err
	}
	r.Claims, r.Sealed = &claims, nil
	return nil
}

func (k *claimKeys) opener(id claimKey) (aead cipher.AEAD, path string, err error) {
	path = k.path(id)
	if k.keeps {
		k.mu.RLock()
		aead = k.open[id]
		k.mu.RUnlock()
	}
	if aead == nil {
		aead, err = readClaimKey(path)
		if k.keeps && err == nil {
			k.mu.Lock()
			k.open[id] = aead
			k.mu.Unlock()
		}
	}
	return aead, path, err
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
		_, err = f.Write(make([]byte, 32))
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
