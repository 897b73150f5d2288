package account_test

import (
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/config"
)

func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chaperone.toml")
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// onlyFile fails where an edit has left something beside the file.
func onlyFile(t testing.TB, path string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Errorf("%d files in the folder, want 1: %v", len(files), files)
	}
}

func TestANewKeyOpensAndARevokedOneDoesNot(t *testing.T) {
	const before = "# our router\n" + organisations + "\n[server]\nlisten = \":8080\"" // no line end
	path := write(t, before)
	secret, key := account.NewKey("acme", "fraud", "the \"batch\"\njob", now.Add(90*24*time.Hour), now)
	if !regexp.MustCompile(`^sk-ch-[0-9A-Za-z]{43}$`).MatchString(secret) || key.SHA256 != sha256.Sum256([]byte(secret)) {
		t.Fatalf("secret %q does not belong to %x", secret, key.SHA256)
	}
	if err := account.AppendKey(path, key); err != nil {
		t.Fatal(err)
	}
	after := read(t, path)
	if !strings.HasPrefix(after, before) || strings.Contains(after, secret) {
		t.Fatalf("the file is now\n%s", after)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v (%v), want that from before", info.Mode(), err)
	}
	p, err := load(t, after).Authenticate(secret, now)
	if err != nil {
		t.Fatal(err)
	}
	if p.Key.Name != key.Name || p.Team.ID != "fraud" || !p.Key.Created.Equal(now) || !p.Key.Expires.Equal(key.Expires) {
		t.Errorf("read back %+v, want %+v", p.Key, key)
	}

	if err := account.RevokeKey(path, key.ID, now); err != nil {
		t.Fatal(err)
	}
	const added = "disabled = true # revoked 2026-11-23T12:00:00Z\n"
	revoked := read(t, path)
	if strings.Replace(revoked, added, "", 1) != after {
		t.Errorf("revoking did more than add %q:\n%s", added, revoked)
	}
	if _, err := load(t, revoked).Authenticate(secret, now); err != account.ErrDisabledKey {
		t.Errorf("a revoked key gets %v", err)
	}
	if err := account.RevokeKey(path, key.ID, now.Add(time.Hour)); err != nil || read(t, path) != revoked {
		t.Errorf("revoking again: %v, file\n%s", err, read(t, path))
	}
	onlyFile(t, path)
}

func TestRevokingLeavesEveryOtherByte(t *testing.T) {
	one, two := hash("one"), hash("two")
	id := "key_" + two[:12]
	for name, c := range map[string]struct{ before, after string }{
		"a value that says false": {
			"[[keys]]\nsha256 = \"" + one + "\"\ndisabled = false\n[[keys]]\nsha256 = \"" + two + "\"\n\t disabled=false# for now\nname = 'disabled = false'\n",
			"[[keys]]\nsha256 = \"" + one + "\"\ndisabled = false\n[[keys]]\nsha256 = \"" + two + "\"\n\t disabled=true# for now\nname = 'disabled = false'\n",
		},
		"a header with a comment, CRLF": {
			"[[keys]]\r\nsha256 = \"" + one + "\"\r\n  [[ keys ]] # two\r\nsha256 = \"" + two + "\"\r\n[keys.labels]\r\na = 'b'",
			"[[keys]]\r\nsha256 = \"" + one + "\"\r\n  [[ keys ]] # two\r\ndisabled = true # revoked 2026-11-23T12:00:00Z\r\nsha256 = \"" + two + "\"\r\n[keys.labels]\r\na = 'b'",
		},
		"a name that looks like a table": {
			"x = '''\n[[keys]]\nid = \"" + id + "\"\n'''\n[[keys]]\nsha256 = \"" + two + "\"",
			"x = '''\n[[keys]]\nid = \"" + id + "\"\n'''\n[[keys]]\ndisabled = true # revoked 2026-11-23T12:00:00Z\nsha256 = \"" + two + "\"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.before)
			if err := account.RevokeKey(path, id, now); err != nil {
				t.Fatal(err)
			}
			if got := read(t, path); got != c.after {
				t.Errorf("wrote\n%q\nwant\n%q", got, c.after)
			}
			onlyFile(t, path)
		})
	}
}

// Every way in which an edit refuses: the file stays as it was and nothing is left beside it.
func TestAnEditThatCannotBeDoneChangesNothing(t *testing.T) {
	_, key := account.NewKey("acme", "", "", time.Time{}, now)
	entry := `sha256 = "` + hash("k") + `"`
	id := "key_" + hash("k")[:12]
	appendKey := func(path string) error { return account.AppendKey(path, key) }
	revoke := func(path string) error { return account.RevokeKey(path, id, now) }
	for _, c := range []struct {
		name, content string
		edit          func(string) error
		want          string // PATH stands for the file's path
	}{
		{"not TOML", "[organisations", appendKey, `PATH:1: not TOML: expected '.' or ']' to end table name, but got end of file instead`},
		{"keys in one line", "keys = []\n", appendKey, `nothing was written, the entry would not fit into this file: PATH:3: not TOML: Key 'keys' was already created and cannot be used as an array`},
		{"keys is a table", "[keys]\n", appendKey, `PATH:1: keys: found a table; expected an array`},
		{"no such key", "[[keys]]\n" + `sha256 = "` + hash("other") + `"`, revoke, `PATH: ` + id + `: no key with this id`},
		{"no keys", "", revoke, `PATH: ` + id + `: no key with this id`},
		{"a key in one line", "keys = [{ " + entry + " }]\n", revoke, `PATH:1: ` + id + ` is not written as a [[keys]] table of lines; write disabled = true there by hand`},
		{"disabled on the header's line", "keys = [{ " + entry + ", disabled = false }]\n", revoke, `PATH:1: ` + id + ` is not written as a [[keys]] table of lines; write disabled = true there by hand`},
		{"disabled is a string", "[[keys]]\n" + entry + "\ndisabled = 'no'\n", revoke, `PATH:1: ` + id + ` is not written as a [[keys]] table of lines; write disabled = true there by hand`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.content)
			err := c.edit(path)
			if err == nil {
				t.Fatal("was done")
			}
			if got := strings.ReplaceAll(err.Error(), path, "PATH"); got != c.want {
				t.Errorf("says\n%s\nwant\n%s", got, c.want)
			}
			if got := read(t, path); got != c.content {
				t.Errorf("the file is now\n%s", got)
			}
			onlyFile(t, path)
		})
	}
	if err := account.RevokeKey(write(t, ""), id, now); !errors.Is(err, account.ErrNoSuchKey) {
		t.Errorf("%v is no ErrNoSuchKey", err)
	}
	if err := account.AppendKey(filepath.Join(t.TempDir(), "absent.toml"), key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("appending to a file that does not exist: %v", err)
	}
}

func TestAnInterruptedEditIsNamed(t *testing.T) {
	path := write(t, organisations)
	beside := filepath.Join(filepath.Dir(path), ".chaperone.toml.new")
	if err := os.WriteFile(beside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, key := account.NewKey("acme", "", "", time.Time{}, now)
	want := path + " is being edited; if that was interrupted, delete " + beside + " and try again"
	if err := account.AppendKey(path, key); err == nil || err.Error() != want {
		t.Errorf("says %v, want %s", err, want)
	}
	if _, err := os.Stat(beside); err != nil {
		t.Errorf("the other edit's file is gone: %v", err)
	}
}

func TestASymbolicLinkStaysOne(t *testing.T) {
	path := write(t, organisations)
	link := filepath.Join(t.TempDir(), "link.toml")
	if err := os.Symlink(path, link); err != nil {
		t.Skip("this system has no symbolic links: ", err)
	}
	secret, key := account.NewKey("acme", "", "", time.Time{}, now)
	if err := account.AppendKey(link, key); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is now %v (%v)", info.Mode(), err)
	}
	if _, err := load(t, read(t, path)).Authenticate(secret, now); err != nil {
		t.Error(err)
	}
}

// Concurrent edits are all there or refused, and readers see whole files only.
func TestConcurrentEditsLoseNothing(t *testing.T) {
	path := write(t, organisations)
	const writers, each = 4, 10
	stop := make(chan struct{})
	var readers, all sync.WaitGroup
	readers.Add(1)
	go func() {
		defer readers.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			content, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			if _, problems := config.Parse(path, content); problems != nil {
				t.Error(problems)
				return
			}
		}
	}()
	written := make([][]string, writers)
	for w := range writers {
		all.Add(1)
		go func() {
			defer all.Done()
			for range each {
				secret, key := account.NewKey("acme", "", "", time.Time{}, now)
				err := account.AppendKey(path, key)
				if err == nil {
					written[w] = append(written[w], secret)
				} else if !strings.Contains(err.Error(), "is being edited") {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	close(stop)
	readers.Wait()
	a, n := load(t, read(t, path)), 0
	for _, secrets := range written {
		for _, secret := range secrets {
			n++
			if _, err := a.Authenticate(secret, now); err != nil {
				t.Errorf("a key that was written is lost: %v", err)
			}
		}
	}
	if n == 0 || len(a.Keys()) != n {
		t.Errorf("%d keys written, %d in the file", n, len(a.Keys()))
	}
	onlyFile(t, path)
}

// A name is operators' free text: whatever it is, it comes back and disturbs nothing else.
func TestAnyNameCanBeWritten(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	alphabet := []rune("ab\"'\\\n\r\t\x00\x1f\x7f#[]{}=é漢🙂\u2028\ufeff")
	path := write(t, organisations)
	names := map[string]string{}
	for range 60 {
		var name strings.Builder
		for range random.IntN(12) {
			name.WriteRune(alphabet[random.IntN(len(alphabet))])
		}
		_, key := account.NewKey("open", "", name.String(), time.Time{}, now)
		if err := account.AppendKey(path, key); err != nil {
			t.Fatalf("%q: %v", name.String(), err)
		}
		names[key.ID] = name.String()
	}
	for _, key := range load(t, read(t, path)).Keys() {
		if key.Name != names[key.ID] {
			t.Errorf("wrote the name %q, read %q", names[key.ID], key.Name)
		}
		delete(names, key.ID)
	}
	if len(names) > 0 {
		t.Errorf("lost %v", names)
	}
}

func TestParseExpiry(t *testing.T) {
	for _, c := range []struct {
		in, want, err string
	}{
		{in: "", want: "0001-01-01T00:00:00Z"},
		{in: "never", want: "0001-01-01T00:00:00Z"},
		{in: "90d", want: "2027-02-21T12:00:00Z"},
		{in: "1d12h", want: "2026-11-25T00:00:00Z"},
		{in: "2027-01-31", want: "2027-01-31T00:00:00Z"},
		{in: "2027-01-31T10:00:00+02:00", want: "2027-01-31T08:00:00Z"},
		{in: "soon", err: `found "soon"; expected a span such as "90d", a date such as "2027-01-31", or "never"`},
		{in: "90", err: `found "90"; expected a span such as "90d", a date such as "2027-01-31", or "never"`},
		{in: "2026-11-23", err: `found "2026-11-23", which has passed; expected a later time`},
		{in: "-1h", err: `found "-1h", which has passed; expected a later time`},
	} {
		got, err := account.ParseExpiry(c.in, now)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%q says %v, want %s", c.in, err, c.err)
			}
		} else if err != nil || got.Format(time.RFC3339) != c.want {
			t.Errorf("%q is %v (%v), want %s", c.in, got, err, c.want)
		}
	}
}

func FuzzRevokeKey(f *testing.F) {
	entry := "[[keys]]\nsha256 = \"" + hash("k") + "\"\n"
	f.Add(entry)
	f.Add("keys = [{sha256 = \"" + hash("k") + "\"}]")
	f.Add("[[keys]]\n\"disabled\" = false\nsha256='" + hash("k") + "'")
	f.Add(entry + "[[keys.x]]\n" + entry + "[y]\nz = \"\"\"\n[[keys]]\"\"\"")
	id := "key_" + hash("k")[:12]
	f.Fuzz(func(t *testing.T, content string) {
		path := write(t, content)
		err := account.RevokeKey(path, id, now)
		after := read(t, path)
		if err != nil {
			if after != content {
				t.Fatalf("%v, and yet the file has changed", err)
			}
			return
		}
		doc, problems := config.Parse(path, []byte(after))
		if problems != nil {
			t.Fatal(problems)
		}
		var entries []map[string]any
		doc.Decode("keys", &entries)
		disabled := 0
		for _, entry := range entries {
			if entry["disabled"] == true {
				disabled++
			}
		}
		if disabled == 0 {
			t.Fatalf("nothing is disabled in\n%s", after)
		}
	})
}
