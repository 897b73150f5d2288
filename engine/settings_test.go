package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine"
)

func TestSettingsThatAreWrong(t *testing.T) {
	const world = "\n[organisations.acme]\n[models.\"m/one\"]\ncontext_length = 10\n"
	for text, want := range map[string]string{
		"[server]\nlisten = \"127.0.0.1:99999\"":                       `2: server.listen: found "127.0.0.1:99999"; expected an address and a port up to 65535, such as 127.0.0.1:8080`,
		"[server]\nlisten = \"\"":                                      `2: server.listen: found ""; expected an address and a port up to 65535, such as 127.0.0.1:8080`,
		"[server]\nprivate_listen = \"metrics\"":                       `2: server.private_listen: found "metrics"; expected an address and a port up to 65535, such as 127.0.0.1:8080`,
		"[server]\nprivate_listen = \"127.0.0.1:8080\"":                `2: server.private_listen: is the public address 127.0.0.1:8080; give it another, or "" to switch it off`,
		"[server]\ntls_key = \"k.pem\"":                                `1: server: has one of tls_certificate and tls_key; TLS needs both`,
		"[server]\nread_timout = \"3s\"":                               `2: server.read_timout: unknown key "read_timout"; did you mean "read_timeout"?`,
		"[server]\nread_timeout = 3":                                   `2: server.read_timeout: found integer 3; expected a duration such as "250ms", "30s" or "90d"`,
		"[statistics]\ntick = \"10m\"":                                 `2: statistics.tick: found 10m0s, longer than the window of 5m0s; expected a shorter one`,
		"[routing]\nexploration = 0.9":                                 `2: routing.exploration: found 0.9; expected at most 0.5`,
		"[[scorers]]\nname = \"valu\"":                                 `2: scorers[0].name: found "valu"; did you mean "value"?, or plugin = "FILE.wasm" beside it`,
		"[[scorers]]\nname = \"value\"\n[[scorers]]\nname = \"value\"": `4: scorers[1].name: "value" is the name of an earlier scorer; expected another`,
		"[[scorers]]\nname = \"value\"\nsha256 = \"00\"":               `1: scorers[0]: the native scorer value takes none of sha256, config, golden, state, fuel, instances, wait, memory_bytes and code_bytes; expected plugin = "FILE.wasm" or none of them`,
		"[[scorers]]\nname = \"x\"\nplugin = \"x.wasm\"\nstate = \"s\"\n[[scorers]]\nname = \"y\"\nplugin = \"y.wasm\"\nstate = \"./s\"": `8: scorers[1].state: "./s" is the file of the scorer x; expected another`,
		"[[scorers]]\nname = \"x\"\nplugin = \"gone.wasm\"":                               `3: scorers[0].plugin: gone.wasm cannot be used: `,
		"catalog = [\"gone.toml\"]":                                                       `1: catalog[0]: found "gone.toml", but there is no such file`,
		"include = [\"[\"]":                                                               `1: include[0]: found "[", which is no file pattern: syntax error in pattern`,
		"[replicas]\npeers = [\"10.0.0.2:9090\"]\ntoken_env = \"T\"":                      `2: replicas.peers[0]: found "10.0.0.2:9090"; expected the private listener of another router, such as http://10.0.0.2:9090`,
		"[replicas]\npeers = [\"http://10.0.0.2:9090?a\"]\ntoken_env = \"T\"":             `2: replicas.peers[0]: found "http://10.0.0.2:9090?a"; expected the private listener of another router, such as http://10.0.0.2:9090`,
		"[replicas]\npeers = [\"http://me:secret@10.0.0.2:9090\"]\ntoken_env = \"T\"":     `2: replicas.peers[0]: found "http://me:xxxxx@10.0.0.2:9090"; expected no name and password: replicas know each other by the token of replicas.token_env`,
		"[replicas]\npeers = [\"http://10.0.0.2:9090\"]":                                  `1: replicas.token_env: missing; expected the environment variable with the token that all replicas have`,
		"[ledger]\nretention = \"90d\"":                                                   `1: ledger: there is no journal on disk to make a ledger from; set journal.dir`,
		"[journal]\ndir = \"j\"\n[ledger]\nretention = \"6d\"":                            `4: ledger.retention: found 144h0m0s; expected at least 168h0m0s, or 0 for no limit`,
		"[journal]\ndir = \"j\"\nsegment_age = \"20d\"\n[ledger]\nretention = \"30d\"":    `5: ledger.retention: found 720h0m0s; expected at least 960h0m0s, twice journal.segment_age, or 0 for no limit`,
		"[journal]\ndir = \"j\"\n[ledger]\ndatabase = \"postgres://u:secret@h/d\"":        `4: ledger.database: holds a password, which does not stand in a file`,
		"[journal]\ndir = \"j\"\n[ledger]\ndatabase = \"l.sqlite\"\ndatabase_env = \"A\"": `5: ledger.database_env: stands beside database; expected one of the two`,
		"sever = 1": `1: sever: unknown key "sever"; did you mean "server"?`,
	} {
		path := filepath.Join(t.TempDir(), "chaperone.toml")
		if err := os.WriteFile(path, []byte(text+world), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := engine.Check(t.Context(), engine.Options{ConfigPath: path})
		if err == nil || !strings.Contains(err.Error(), path+":"+want) {
			t.Errorf("%s\ngot  %v\nwant %s:%s", text, err, path, want)
		}
	}
}

func TestReplicasNeedTheirToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chaperone.toml")
	text := "[replicas]\npeers = [\"http://10.0.0.2:9090\"]\ntoken_env = \"T\"\n[organisations.acme]\n[models.\"m/one\"]\ncontext_length = 10\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Env: func(string) (string, bool) { return "", false }})
	if want := "replicas.token_env: the variable T holds nothing"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A folder's own name is no pattern, whatever it looks like; what a configuration names may be one.
func TestAConfigurationInAFolderWithAStrangeName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `[a] *?\b`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"chaperone.toml": "catalog = [\"models.toml\", \"more-*.toml\"]\n[organisations.acme]\n",
		"models.toml":    "[models.\"m/one\"]\ncontext_length = 10\n",
		"more-1.toml":    "[models.\"m/two\"]\ncontext_length = 10\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"), DecideOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(t.Context())
	if files := strings.Join(e.Files(), "\n"); !strings.Contains(files, "models.toml") || !strings.Contains(files, "more-1.toml") {
		t.Errorf("it is made of %s", files)
	}
}
