package token

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"
)

// SessionKey is where the account of a token has the id of its session, in the metadata.
const SessionKey = "session"

const (
	// typ is the type of token that is made and accepted (RFC 9068, 2.1).
	typ = "at+jwt"
	// leeway is how far the clock of who has signed may be ahead.
	leeway = 30 * time.Second
	// maxText bounds the bytes of a token that is looked at. Metadata of the size that an account may have fits in.
	maxText = 256 << 10
)

// claims is the payload of an access token.
type claims struct {
	jwt.RegisteredClaims
	Session  string            `json:"sid,omitempty"`
	Type     string            `json:"type"`
	Name     string            `json:"name,omitempty"`
	Scopes   []string          `json:"scopes,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Signer makes access tokens. It is for the auth service alone, and safe for concurrent use.
type Signer struct {
	clock func() time.Time
	file  *watched[signingKey]
}

type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

// OpenSigner returns a Signer with the key of a directory, which Create has made. It notices by itself when another key
// takes over.
func OpenSigner(dir string) (*Signer, error) { return openSigner(dir, time.Now) }

func openSigner(dir string, clock func() time.Time) (*Signer, error) {
	s := &Signer{clock: clock, file: &watched[signingKey]{
		name: filepath.Join(dir, signingFile), parse: parseSigning, clock: clock,
	}}
	if _, err := s.file.get(fileAge); err != nil {
		return nil, err
	}
	return s, nil
}

func parseSigning(name string) (signingKey, error) {
	found, err := readKeys(name)
	if err != nil {
		return signingKey{}, err
	}
	if len(found.Keys) == 0 {
		return signingKey{}, fmt.Errorf("%s has no key", name)
	}
	private, err := found.Keys[0].parsePrivate()
	return signingKey{found.Keys[0].ID, private}, err
}

// Sign makes an access token for an account of the platform's own namespace, and says when it expires. It belongs to the
// session, if that is not empty. The lifetime is cut to whole seconds, at least one, and to MaxAccess.
func (s *Signer) Sign(account *auth.Account, session string, lifetime time.Duration) (text string, expiry time.Time, err error) {
	switch {
	case account == nil || account.ID == "" || account.Issuer != namespace.DefaultNamespace:
		return "", time.Time{}, errors.New("sign a token: expected an account with an id, of the namespace " + namespace.DefaultNamespace)
	case lifetime < time.Second:
		return "", time.Time{}, errors.New("sign a token: expected a lifetime of a second or more")
	}
	k, err := s.file.get(fileAge)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a token: %w", err)
	}
	issued := s.clock().Truncate(time.Second)
	expiry = issued.Add(min(lifetime, MaxAccess).Truncate(time.Second))
	// Only the session given counts, whatever is in the account.
	metadata := maps.Clone(account.Metadata)
	delete(metadata, SessionKey)
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: tokenID(), Subject: account.ID, Issuer: account.Issuer,
			IssuedAt: jwt.NewNumericDate(issued), NotBefore: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(expiry),
		},
		Session: session, Type: account.Type, Name: account.Name, Scopes: account.Scopes, Metadata: metadata,
	})
	t.Header["typ"], t.Header["kid"] = typ, k.id
	if text, err = t.SignedString(k.private); err != nil {
		return "", time.Time{}, fmt.Errorf("sign a token: %w", err)
	}
	return text, expiry, nil
}

func tokenID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Verifier checks access tokens. It is safe for concurrent use.
type Verifier struct {
	clock  func() time.Time
	file   *watched[map[string]verifyKey]
	parser *jwt.Parser
}

type verifyKey struct {
	key
	public *rsa.PublicKey
}

// OpenVerifier returns a Verifier with the keys of a directory. There need not be any yet: they are read when they are
// needed, and again when they change.
func OpenVerifier(dir string) (*Verifier, error) { return openVerifier(dir, time.Now) }

func openVerifier(dir string, clock func() time.Time) (*Verifier, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the keys: %w", err)
	}
	return &Verifier{
		clock: clock,
		file:  &watched[map[string]verifyKey]{name: filepath.Join(dir, verifyFile), parse: parseVerify, clock: clock},
		// The claims are checked by claims.good: the parser would grant the leeway to the expiry as well.
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()),
	}, nil
}

func parseVerify(name string) (map[string]verifyKey, error) {
	found, err := readKeys(name)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]verifyKey)
	for _, k := range found.Keys {
		public, err := k.parsePublic()
		if err != nil {
			return nil, err
		}
		byID[k.ID] = verifyKey{k, public}
	}
	return byID, nil
}

// Inspect returns whose token it is, and when it expires. The session is in the account's metadata, as SessionKey. The
// error is auth.ErrInvalidToken, whatever is wrong.
func (v *Verifier) Inspect(text string) (*auth.Account, time.Time, error) {
	// Go's base64 skips line ends wherever they are: the same token would have many texts.
	if len(text) > maxText || strings.ContainsAny(text, "\r\n") {
		return nil, time.Time{}, auth.ErrInvalidToken
	}
	var c claims
	if _, err := v.parser.ParseWithClaims(text, &c, v.keyOf); err != nil || !c.good(v.clock()) {
		return nil, time.Time{}, auth.ErrInvalidToken
	}
	metadata := make(map[string]string)
	maps.Copy(metadata, c.Metadata)
	delete(metadata, SessionKey)
	if c.Session != "" {
		metadata[SessionKey] = c.Session
	}
	return &auth.Account{
		ID: c.Subject, Issuer: c.Issuer, Type: c.Type, Name: c.Name, Scopes: c.Scopes, Metadata: metadata,
	}, c.ExpiresAt.Time, nil
}

// keyOf finds the key that a token names. Keys, and addresses of keys, that a token brings along are not looked at.
func (v *Verifier) keyOf(t *jwt.Token) (any, error) {
	id, _ := t.Header["kid"].(string)
	_, critical := t.Header["crit"] // says that there is something that must be understood (RFC 7515, 4.1.11)
	if id == "" || t.Header["typ"] != typ || critical {
		return nil, auth.ErrInvalidToken
	}
	for _, maxAge := range []time.Duration{fileAge, unknownAge} {
		known, _ := v.file.get(maxAge) // with an error it is what was known before
		if k, ok := known[id]; ok {
			if !k.verifies(v.clock()) {
				return nil, auth.ErrInvalidToken
			}
			return k.public, nil
		}
	}
	return nil, auth.ErrInvalidToken
}

// good tells whether the claims are complete, and good now.
func (c *claims) good(now time.Time) bool {
	if c.Subject == "" || c.Issuer != namespace.DefaultNamespace || c.IssuedAt == nil || c.ExpiresAt == nil {
		return false
	}
	issued, expiry, latest := c.IssuedAt.Time, c.ExpiresAt.Time, now.Add(leeway)
	return now.Before(expiry) && !expiry.After(issued.Add(MaxAccess)) && !issued.After(latest) &&
		(c.NotBefore == nil || !c.NotBefore.After(latest))
}
