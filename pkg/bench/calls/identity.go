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

// keyEnv has the public key of a stock platform.
const keyEnv = "BENCH_CALLS_KEY"

// identities are the keys of a stock platform, as Micro passes them on, and the token of the service that calls, as Micro
// signs it.
type identities struct{ private, public, token string }

func newIdentities() (*identities, error) {
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
	t, err := ids.provider().Generate(process.CallerAccount(), token.WithExpiry(time.Hour))
	if err != nil {
		return nil, err
	}
	ids.token = t.Token
	return ids, nil
}

func (ids *identities) provider() token.Provider {
	return jwt.NewTokenProvider(token.WithPrivateKey(ids.private), token.WithPublicKey(ids.public))
}
