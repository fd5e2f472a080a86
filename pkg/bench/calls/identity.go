package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"time"

	"github.com/micro/micro/v3/util/auth/token"
	"github.com/micro/micro/v3/util/auth/token/jwt"

	"github.com/m3o/backend/pkg/bench/process"
)

// keyBits is the size of the keys that Micro makes.
const keyBits = 4096

// identities are the keys of a stock platform, as Micro passes them on, and the token of the service that calls: one as
// Micro signs it, and one as our auth service does.
type identities struct{ private, public, token, ours string }

func newIdentities(keys string) (*identities, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	encode := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	ids := &identities{
		private: encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
		public:  encode("PUBLIC KEY", public),
	}
	t, err := ids.provider().Generate(process.Account, token.WithExpiry(time.Hour))
	if err != nil {
		return nil, err
	}
	ids.token = t.Token
	ids.ours, err = process.CreateKeys(keys)
	return ids, err
}

func (ids *identities) provider() token.Provider {
	return jwt.NewTokenProvider(token.WithPrivateKey(ids.private), token.WithPublicKey(ids.public))
}
