package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"
)

// Where the account of a part of the platform, or of a service, has what it is, in the metadata.
const (
	// ServiceKey is the name of the service, or "platform/" and the name of the part.
	ServiceKey = "service"
	// SoldKey is "true" for a service that is sold.
	SoldKey = "sold"
	// GatewayKey is the name of the one service that the gateway is the gateway in.
	GatewayKey = "gateway"
)

// ErrSecret is the answer to a derived id whose secret is another one, and to an id that is none.
var ErrSecret = errors.New("no such id with that secret")

// rootBytes is the size of a root, and of what is derived.
const rootBytes = sha256.Size

// below names the secret of the runtime among what is derived from a root. It is the id of nobody.
const below = "services"

// The forms of ids.
var (
	platformID = regexp.MustCompile(`^platform/[a-z][a-z0-9-]{0,62}$`)
	gatewayID  = regexp.MustCompile(`^gateway/([a-z][a-z0-9-]{0,62})$`)
	serviceID  = regexp.MustCompile(`^(service|sold)/([a-z][a-z0-9-]{0,62})/[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// Root is the secret that all others are derived from. It must not be logged.
type Root []byte

// LoadRoot returns the root of a directory, which it makes if there is none. A directory that has one may be read-only.
func LoadRoot(dir string) (Root, error) {
	root, err := readRoot(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if root, err = readRoot(dir); !errors.Is(err, fs.ErrNotExist) {
		return root, err // somebody else has made it meanwhile
	}
	root = make([]byte, rootBytes)
	_, _ = rand.Read(root) // never fails
	return root, replace(filepath.Join(dir, rootFile), root)
}

func readRoot(dir string) (Root, error) {
	name := filepath.Join(dir, rootFile)
	root, err := os.ReadFile(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the root secret: %w", err)
	case len(root) != rootBytes:
		return nil, fmt.Errorf("read the root secret: expected %d bytes in %s", rootBytes, name)
	}
	return root, nil
}

// Secret returns the secret of an id: platform/<name>, one of those of GatewaySecret, or one of those of Services. It is
// empty for an id that is none, and nobody logs in with that.
func (r Root) Secret(id string) string {
	if len(r) != rootBytes {
		return "" // of a root that was never loaded nothing is derived
	}
	switch {
	case platformID.MatchString(id):
		return encodeSecret(derive(r, id))
	case gatewayID.MatchString(id):
		return GatewaySecret(r.Secret(gatewayPart), id)
	}
	return r.Services().Secret(id)
}

// gatewayPart is the part of the platform that the gateway runs in.
const gatewayPart = "platform/api"

// GatewayID is the id of the gateway in the service of a name.
func GatewayID(service string) string { return "gateway/" + service }

// GatewaySecret returns the secret of gateway/<service>, made of that of the part of the platform that the gateway runs in,
// which so needs no other. It is empty for an id that is none.
func GatewaySecret(own, id string) string {
	if own == "" || !gatewayID.MatchString(id) {
		return ""
	}
	return encodeSecret(derive([]byte(own), id))
}

// Services returns the secret of the runtime.
func (r Root) Services() Services {
	if len(r) != rootBytes {
		return Services{} // of a root that was never loaded nothing is derived
	}
	return Services{key: derive(r, below)}
}

// Account returns the account of an id if the secret is its own; ErrSecret otherwise, after a time that says nothing
// about the secret.
func (r Root) Account(id, secret string) (*auth.Account, error) {
	want := r.Secret(id)
	if want == "" || !hmac.Equal([]byte(want), []byte(secret)) {
		return nil, ErrSecret
	}
	if platformID.MatchString(id) {
		return ServiceAccount(id, id), nil
	}
	if parts := gatewayID.FindStringSubmatch(id); parts != nil {
		return GatewayAccount(parts[1]), nil
	}
	parts := serviceID.FindStringSubmatch(id)
	account := ServiceAccount(id, parts[2])
	if parts[1] == "sold" {
		account.Metadata[SoldKey], account.Scopes = "true", nil
	}
	return account, nil
}

// ServiceAccount is the account of a service, or of a part of the platform. The name stands in the account itself, and so
// in every token of it under the platform's signature. An id would not do: it has the version, which is anything.
func ServiceAccount(id, name string) *auth.Account {
	return &auth.Account{
		ID: id, Name: id, Type: "service", Issuer: namespace.DefaultNamespace, Scopes: []string{"service"},
		Metadata: map[string]string{ServiceKey: name},
	}
}

// GatewayAccount is the account of the gateway in the service of a name. It has no scope: it is nobody in any other.
func GatewayAccount(service string) *auth.Account {
	id := GatewayID(service)
	return &auth.Account{
		ID: id, Name: id, Type: "service", Issuer: namespace.DefaultNamespace,
		Metadata: map[string]string{GatewayKey: service},
	}
}

// Services is the secret with which the runtime derives those of services.
type Services struct{ key []byte }

// ParseServices reads what String has written.
func ParseServices(text string) (Services, error) {
	key, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(key) != rootBytes {
		return Services{}, fmt.Errorf("the secret of the runtime: expected %d bytes in unpadded base64url", rootBytes)
	}
	return Services{key: key}, nil
}

// String returns the secret itself, in a form for an environment variable: it must not be logged.
func (s Services) String() string { return encodeSecret(s.key) }

// Secret returns the secret of an id: service/<name>/<version> for a service of the platform, sold/<name>/<version> for
// one that is sold. It is empty for an id that is none.
func (s Services) Secret(id string) string {
	if !serviceID.MatchString(id) || len(s.key) == 0 {
		return ""
	}
	return encodeSecret(derive(s.key, id))
}

func derive(key []byte, id string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id)) // never fails
	return h.Sum(nil)
}

func encodeSecret(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
