package kubernetes

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/runtime"
)

// The Secrets of a platform. Each process mounts those that it needs, and no other.
const (
	// keysSecret has everything that tokens are made with; it is for the auth service.
	keysSecret = "keys"
	// verifySecret has what tokens are checked with; it is for everybody.
	verifySecret = "verify"
	// issuerSecret has what the runtime makes the credentials of services of.
	issuerSecret = "issuer"
	// configSecret has the key of secrets in the configuration; it is for the config service.
	configSecret = "config-key"
	// adminSecret has the admin's password; it is for the auth service and for operators.
	adminSecret = "admin"
	// credentialsPrefix stands before the name of the process that logs in with it.
	credentialsPrefix = "credentials-"
	// redisSecret, and the one of this prefix and a role, have the passwords of the engines.
	redisSecret    = "redis"
	postgresPrefix = "postgres-"
)

// The files of keysSecret; see package token.
var keyFiles = []string{"signing.json", "verify.json", "root.key"}

// Parts are the platform's own processes, and Services those of this repository: each logs in as itself.
var (
	Parts    = []string{"registry", "broker", "store", "config", "auth", "events", "proxy", "api", "runtime"}
	Services = []string{"customers", "billing", "usage", "signup", "mixpanel"}
)

// roles are those of PostgreSQL: the superuser, the one of the platform's own parts, and one for each service.
func roles() []string { return slices.Concat([]string{"postgres", "micro"}, Services) }

// CreateSecrets makes the Secrets of a platform that are not there yet, and says which. One that is there stays as it is, so
// that it can be called again, by several at once, and after it was killed at any point: what is derived is derived from the
// keys that are there. Beside creating Secrets it has to be allowed to read the one of the keys.
func CreateSecrets(ctx context.Context, cluster Cluster) (made []string, err error) {
	c, err := newClient(cluster)
	if err != nil {
		return nil, err
	}
	defer c.close()
	keys, isNew, err := c.keys(ctx)
	if err != nil {
		return nil, err
	}
	if isNew {
		made = append(made, keysSecret)
	}
	derived, err := derive(keys)
	if err != nil {
		return made, err
	}
	for _, s := range derived {
		switch err := c.createSecret(ctx, s); {
		case isReason(err, "AlreadyExists"):
		case err != nil:
			return made, err
		default:
			made = append(made, s.name)
		}
	}
	return made, nil
}

// secret is what a Secret has, by the names of files or variables.
type secret struct {
	name string
	data map[string][]byte
}

func (c *client) createSecret(ctx context.Context, s secret) error {
	err := c.create(ctx, secrets, object{
		"apiVersion": secrets.version, "kind": secrets.name, "type": "Opaque",
		"metadata": object{"name": s.name, "labels": object{"app.kubernetes.io/part-of": "micro"}},
		"data":     s.data,
	})
	if err != nil && !isReason(err, "AlreadyExists") {
		return fmt.Errorf("create the Secret %s: %w", s.name, err)
	}
	return err
}

// keys returns the content of keysSecret, and whether it was made just now.
func (c *client) keys(ctx context.Context) (keys map[string][]byte, isNew bool, err error) {
	made, err := newKeys()
	if err != nil {
		return nil, false, err
	}
	err = c.createSecret(ctx, secret{keysSecret, made})
	if err == nil || !isReason(err, "AlreadyExists") {
		return made, err == nil, err
	}
	var found struct{ Data map[string][]byte }
	if err := c.get(ctx, secrets, keysSecret, &found); err != nil {
		return nil, false, fmt.Errorf("read the Secret %s: %w", keysSecret, err)
	}
	for _, name := range keyFiles {
		if len(found.Data[name]) == 0 {
			return nil, false, fmt.Errorf("the Secret %s has no %s: restore it, or delete all Secrets to begin anew", keysSecret, name)
		}
	}
	return found.Data, false, nil
}

// newKeys makes keys in a directory that is removed.
func newKeys() (_ map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "keys-*")
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := token.Create(dir); err != nil {
		return nil, err
	}
	if _, err := token.LoadRoot(dir); err != nil {
		return nil, err
	}
	keys := make(map[string][]byte)
	for _, name := range keyFiles {
		if keys[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("make keys: %w", err)
		}
	}
	return keys, nil
}

// derive returns all Secrets but that of the keys.
func derive(keys map[string][]byte) ([]secret, error) {
	root := token.Root(keys["root.key"])
	issuer := root.Services()
	if _, err := token.ParseServices(issuer.String()); err != nil {
		return nil, fmt.Errorf("the Secret %s: root.key: %w", keysSecret, err)
	}
	configKey := make([]byte, 32) // AES-256
	_, _ = rand.Read(configKey)   // never fails
	all := []secret{
		{verifySecret, map[string][]byte{"verify.json": keys["verify.json"]}},
		{issuerSecret, variable(runtime.CredentialsEnv, issuer.String())},
		{configSecret, variable("MICRO_CONFIG_SECRET_KEY", base64.StdEncoding.EncodeToString(configKey))},
		{adminSecret, variable("admin_password", rand.Text())},
		{redisSecret, variable("password", rand.Text())},
	}
	for _, part := range Parts {
		id := access.Part(part)
		all = append(all, credentials(part, runtime.Credentials{ID: id, Secret: root.Secret(id)}))
	}
	for _, service := range Services {
		all = append(all, credentials(service, runtime.Issue(issuer, service, "latest", false)))
	}
	for _, role := range roles() {
		password := rand.Text()
		all = append(all, secret{postgresPrefix + role, map[string][]byte{
			"password": []byte(password), "pgpass": []byte("*:*:*:" + role + ":" + password + "\n"),
		}})
	}
	return all, nil
}

func variable(name, value string) map[string][]byte { return map[string][]byte{name: []byte(value)} }

func credentials(process string, c runtime.Credentials) secret {
	return secret{credentialsPrefix + process, map[string][]byte{
		"MICRO_AUTH_ID": []byte(c.ID), "MICRO_AUTH_SECRET": []byte(c.Secret),
	}}
}
