package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine/config"
	"chaperone/engine/wasm"
)

func pluginKeygenCommand(out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "keygen [NAME]",
		Short: "Make a pair of keys to sign plugins with",
		Long: `Make an Ed25519 key to sign plugins with, in NAME.key (PKCS #8, readable by its owner alone), and print the line of TOML by
which a router trusts it. NAME is release where none is given. A file that is there is never replaced.

Where a router trusts any key it loads no plugin that is not signed by one of them.`,
		Example: `  chaperone plugin keygen
  chaperone plugin keygen ci --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := "release"
			if len(args) == 1 {
				name = args[0]
			}
			if base := filepath.Base(name); name == "" || base == "." || strings.HasSuffix(name, "/") {
				return inputErrorf("the name is %q; expected one for a file, such as release", name)
			}
			public, private, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			path := name + ".key"
			if err := writeKey(path, private); err != nil {
				return err
			}
			v := struct {
				Key    string `json:"key"`
				Public string `json:"public"`
			}{path, hex.EncodeToString(public)}
			return out.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s is the secret half: who has it can sign, so keep it out of repositories.\nTo trust what it signs, write into chaperone.toml:\n\n", path)
				fmt.Fprintf(w, "    [plugins.trusted_keys]\n    %s = %q\n", config.Dotted(filepath.Base(name)), v.Public)
			})
		},
	}
}

// writeKey writes a private key into a file that is not there yet.
func writeKey(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return inputErrorf("%s is there already; choose another name, or delete it if nothing that it signed is in use", path)
	}
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return errors.Join(err, f.Close())
}

func readKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, inputErrorf("--key: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, inputErrorf("--key: %v", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, inputErrorf("--key: %s is no key that chaperone plugin keygen has made: it has no PEM block", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, inputErrorf("--key: %s should be an Ed25519 private key in PKCS #8", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && info.Mode().IsRegular() && privateModes {
		return nil, inputErrorf("--key: %s has mode %04o, should be 0600: others could sign with it", path, mode)
	}
	return key, nil
}

func pluginSignCommand(out *printer) *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use:   "sign MODULE --key FILE",
		Short: "Sign a module",
		Long: `Sign a module's bytes with a key of chaperone plugin keygen. The signature goes beside the module, into MODULE.sig, where a
router looks for it. Any change of the module, packing another manifest too, needs another signature.`,
		Example: `  chaperone plugin sign my-scorer --key release.key
  chaperone plugin sign plugin.wasm --key ci.key --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := modulePath(args[0])
			if err != nil {
				return err
			}
			key, err := readKey(keyFile)
			if err != nil {
				return err
			}
			module, err := readModule(path)
			if err != nil {
				return err
			}
			signature, err := wasm.Sign(module, key)
			if err != nil {
				return inputErrorf("%s: %v", path, err)
			}
			if err := os.WriteFile(path+wasm.SignatureSuffix, signature, 0o666); err != nil {
				return err
			}
			v := struct {
				Module    string `json:"module"`
				Signature string `json:"signature"`
				Key       string `json:"key"`
			}{path, path + wasm.SignatureSuffix, hex.EncodeToString(key.Public().(ed25519.PublicKey))}
			return out.print(v, func(w io.Writer) {
				row(w, "MODULE", "SIGNATURE", "KEY")
				row(w, v.Module, v.Signature, v.Key)
			})
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "file with the private key (required)")
	cmd.MarkFlagRequired("key")
	return cmd
}

// signedBy says who has signed a module, for people.
func signedBy(path string, module []byte) string {
	signature, err := os.ReadFile(path + wasm.SignatureSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return "no"
	}
	if err != nil {
		return err.Error()
	}
	key, err := wasm.Signer(module, signature)
	if err != nil {
		return "no: " + err.Error()
	}
	return "by the key " + hex.EncodeToString(key)
}
