package token

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// MaxAccess is how long an access token lives at most.
const MaxAccess = 5 * time.Minute

const (
	// retiredAge is how long a key verifies after another one has taken over: the tokens that it has signed live for
	// MaxAccess, and the auth service may not have noticed for a moment.
	retiredAge = MaxAccess + time.Minute
	// keyBits is the size of a key. Checking a signature of a larger one costs a multiple of it (4096 bits: 15 times).
	keyBits = 2048
)

// The files of a directory of keys.
const (
	signingFile = "signing.json"
	verifyFile  = "verify.json"
	rootFile    = "root.key"
	lockFile    = "keys.lock"
)

// keys is the content of signing.json, which has the one key that signs, and of verify.json.
type keys struct {
	Keys []key `json:"keys"`
}

// key is a private key in PKCS8 or a public one in PKIX.
type key struct {
	ID      string    `json:"id"`
	PEM     string    `json:"pem"`
	Created time.Time `json:"created"`
	// Until is when the key stops to verify; zero while it signs.
	Until time.Time `json:"until,omitzero"`
}

// The types of PEM blocks.
const (
	pemPrivate = "PRIVATE KEY"
	pemPublic  = "PUBLIC KEY"
)

// Create makes the directory and its first key unless there is one.
func Create(dir string) error { return update(dir, time.Now(), false) }

// Rotate makes a new key, which signs from now on. The former one verifies for long enough that no token of it is refused
// before it expires. Keys that verify no longer are forgotten.
func Rotate(dir string, now time.Time) error { return update(dir, now, true) }

func update(dir string, now time.Time, rotate bool) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()

	signing, err := readKeys(filepath.Join(dir, signingFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	verify, err := readKeys(filepath.Join(dir, verifyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	takeOver := rotate || len(signing.Keys) == 0
	if takeOver {
		made, err := newKey(now)
		if err != nil {
			return err
		}
		signing.Keys = []key{made}
	}
	current, err := signing.Keys[0].public()
	if err != nil {
		return fmt.Errorf("%s: %w", signingFile, err)
	}
	known := slices.Clone(verify.Keys)
	if !slices.ContainsFunc(known, func(k key) bool { return k.ID == current.ID }) {
		known = append(known, current)
	}
	if takeOver {
		// First those who verify learn the key, then it signs, then the former one retires: each step can be the last.
		if err := writeKeys(dir, verifyFile, known); err != nil {
			return err
		}
		if err := writeKeys(dir, signingFile, signing.Keys); err != nil {
			return err
		}
	}
	known = retire(known, current.ID, now)
	if !takeOver && slices.Equal(known, verify.Keys) {
		return nil
	}
	return writeKeys(dir, verifyFile, known)
}

// retire gives the keys that do not sign an end, and leaves out those whose end has come.
func retire(known []key, current string, now time.Time) []key {
	var kept []key
	for _, k := range known {
		if k.ID != current && k.Until.IsZero() {
			k.Until = now.Add(retiredAge).UTC()
		}
		if k.verifies(now) {
			kept = append(kept, k)
		}
	}
	return kept
}

func (k key) verifies(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

func newKey(now time.Time) (key, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return key{}, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return key{}, fmt.Errorf("make a key: %w", err)
	}
	id, err := keyID(&private.PublicKey)
	if err != nil {
		return key{}, err
	}
	return key{ID: id, PEM: encode(pemPrivate, der), Created: now.UTC()}, nil
}

// keyID is taken from the key itself, so that two keys never have the same.
func keyID(public *rsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encode a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:12]), nil
}

// public returns the public half of a private key.
func (k key) public() (key, error) {
	private, err := k.parsePrivate()
	if err != nil {
		return key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return key{}, fmt.Errorf("encode a public key: %w", err)
	}
	return key{ID: k.ID, PEM: encode(pemPublic, der), Created: k.Created}, nil
}

func (k key) parsePrivate() (*rsa.PrivateKey, error) {
	der, err := k.decode(pemPrivate)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k.ID, err)
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key %s: expected RSA", k.ID)
	}
	return private, nil
}

func (k key) parsePublic() (*rsa.PublicKey, error) {
	der, err := k.decode(pemPublic)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k.ID, err)
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok || public.N.BitLen() < keyBits {
		return nil, fmt.Errorf("key %s: expected RSA of %d bits or more", k.ID, keyBits)
	}
	return public, nil
}

func encode(blockType string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
}

func (k key) decode(blockType string) ([]byte, error) {
	block, _ := pem.Decode([]byte(k.PEM))
	if block == nil || block.Type != blockType {
		return nil, fmt.Errorf("key %s: expected PEM of a %s", k.ID, blockType)
	}
	return block.Bytes, nil
}

func readKeys(name string) (keys, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return keys{}, fmt.Errorf("read keys: %w", err)
	}
	var found keys
	if err := json.Unmarshal(text, &found); err != nil {
		return keys{}, fmt.Errorf("read keys of %s: %w", name, err)
	}
	return found, nil
}

func writeKeys(dir, name string, list []key) error {
	text, err := json.MarshalIndent(keys{Keys: list}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode keys: %w", err)
	}
	return replace(filepath.Join(dir, name), append(text, '\n'))
}
