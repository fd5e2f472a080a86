package token

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"
)

// kid reads which key a token names.
func kid(t testing.TB, text string) string {
	t.Helper()
	header, _, _ := strings.Cut(text, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(header)
	require.NoError(t, err)
	var h map[string]string
	require.NoError(t, json.Unmarshal(decoded, &h))
	require.Equal(t, "at+jwt", h["typ"])
	require.Equal(t, "RS256", h["alg"])
	return h["kid"]
}

func TestWhatIsSignedIsInspected(t *testing.T) {
	t.Parallel()
	_, s, v, clock := open(t)
	rapid.Check(t, func(r *rapid.T) {
		metadata := rapid.MapOf(rapid.SampledFrom([]string{"", "service", "sold", "session", "a"}), rapid.String()).Draw(r, "metadata")
		want := &auth.Account{
			ID: rapid.StringN(1, 20, -1).Draw(r, "id"), Name: rapid.String().Draw(r, "name"), Issuer: "micro",
			Type: rapid.String().Draw(r, "type"), Scopes: rapid.SliceOfN(rapid.String(), 1, 3).Draw(r, "scopes"),
			Metadata: maps.Clone(metadata), Secret: "secret",
		}
		session := rapid.SampledFrom([]string{"", "s1"}).Draw(r, "session")
		lifetime := time.Duration(rapid.Int64Range(int64(time.Second), int64(time.Hour)).Draw(r, "lifetime"))
		text, expiry, err := s.Sign(want, session, lifetime)
		require.NoError(r, err)
		require.Equal(r, metadata, want.Metadata, "the account given is as it was")
		left := expiry.Sub(clock.Now())
		require.LessOrEqual(r, left, min(lifetime, MaxAccess))
		require.Greater(r, left, min(lifetime, MaxAccess)-2*time.Second)

		want.Secret = ""
		delete(want.Metadata, SessionKey)
		if session != "" {
			want.Metadata[SessionKey] = session
		}
		got, until, err := v.Inspect(text)
		if left <= 0 {
			require.Equal(r, auth.ErrInvalidToken, err, "of a second nothing may be left")
			return
		}
		require.NoError(r, err)
		require.Equal(r, want, got)
		require.True(r, until.Equal(expiry))
	})
}

func TestWhatIsNotSigned(t *testing.T) {
	t.Parallel()
	_, s, _, _ := open(t)
	for name, tc := range map[string]struct {
		account  *auth.Account
		lifetime time.Duration
	}{
		"nobody":            {nil, MaxAccess},
		"no id":             {&auth.Account{Issuer: "micro"}, MaxAccess},
		"another namespace": {&auth.Account{ID: "jane", Issuer: "other"}, MaxAccess},
		"no namespace":      {&auth.Account{ID: "jane"}, MaxAccess},
		"no lifetime":       {jane, 0},
		"under a second":    {jane, 999 * time.Millisecond},
		"negative lifetime": {jane, -time.Minute},
	} {
		_, _, err := s.Sign(tc.account, "", tc.lifetime)
		require.Error(t, err, name)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	_, s, v, clock := open(t)
	text, expiry, err := s.Sign(jane, "", time.Hour)
	require.NoError(t, err)
	clock.turn(expiry.Sub(clock.Now()) - time.Nanosecond)
	requireGood(t, v, text)
	clock.turn(time.Nanosecond)
	requireBad(t, v, text)
}

// forger makes tokens that differ from a good one in what a test wants.
type forger struct {
	id     string
	key    *rsa.PrivateKey
	now    time.Time
	header map[string]any
	claims jwt.MapClaims
}

func (f *forger) sign(t testing.TB, method jwt.SigningMethod, key any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, f.claims)
	token.Header["typ"], token.Header["kid"] = "at+jwt", f.id
	for k, v := range f.header {
		if token.Header[k] = v; v == nil {
			delete(token.Header, k)
		}
	}
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

func newForger(t testing.TB, s *Signer, now time.Time) *forger {
	t.Helper()
	k, err := s.file.get(fileAge)
	require.NoError(t, err)
	return &forger{id: k.id, key: k.private, now: now, header: map[string]any{}, claims: jwt.MapClaims{
		"sub": "admin", "iss": "micro", "type": "user", "scopes": []string{"admin"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(4 * time.Minute).Unix(),
	}}
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()
	dir, s, v, clock := open(t)
	stranger, err := rsa.GenerateKey(rand.Reader, keyBits)
	require.NoError(t, err)
	found, err := readKeys(filepath.Join(dir, verifyFile))
	require.NoError(t, err)
	public := []byte(found.Keys[0].PEM)
	jwk := map[string]any{
		"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(stranger.N.Bytes()), "e": "AQAB", "kid": found.Keys[0].ID,
	}
	requireGood(t, v, newForger(t, s, clock.Now()).sign(t, jwt.SigningMethodRS256, s.private(t)))

	claim := func(name string, value any) func(*forger) { return func(f *forger) { f.claims[name] = value } }
	without := func(name string) func(*forger) { return func(f *forger) { delete(f.claims, name) } }
	header := func(name string, value any) func(*forger) { return func(f *forger) { f.header[name] = value } }
	shift := func(name string, d time.Duration) func(*forger) { return claim(name, clock.Now().Add(d).Unix()) }
	for name, change := range map[string]func(*forger){
		"type JWT":        header("typ", "JWT"),
		"no type":         header("typ", nil),
		"type is a list":  header("typ", []string{"at+jwt"}),
		"no kid":          header("kid", nil),
		"empty kid":       header("kid", ""),
		"kid is a number": header("kid", 1),
		"unknown kid":     header("kid", "../verify.json"),
		"critical":        header("crit", []string{"exp"}),
		"says none":       header("alg", "none"),
		"says HS256":      header("alg", "HS256"),
		"no expiry":       without("exp"),
		"expiry zero":     claim("exp", 0),
		"expiry as text":  claim("exp", "tomorrow"),
		"expires too far": shift("exp", MaxAccess+time.Second),
		"expires never":   claim("exp", 1e18),
		"expired":         shift("exp", 0),
		"not issued":      without("iat"),
		"issued later":    shift("iat", leeway+2*time.Second),
		"not yet":         shift("nbf", leeway+2*time.Second),
		"issued long ago": shift("iat", -2*time.Minute),
		"nobody's":        without("sub"),
		"empty subject":   claim("sub", ""),
		"other namespace": claim("iss", "other"),
		"no namespace":    without("iss"),
		"scopes as text":  claim("scopes", "admin"),
	} {
		f := newForger(t, s, clock.Now())
		change(f)
		requireBad(t, v, f.sign(t, jwt.SigningMethodRS256, f.key), name)
	}

	for name, change := range map[string]func(*forger){
		"wrong key":  func(*forger) {},
		"brings jwk": header("jwk", jwk),
		"brings jku": header("jku", "http://127.0.0.1:1/keys"),
		"brings x5u": header("x5u", "http://127.0.0.1:1/keys"),
		"brings x5c": header("x5c", []string{base64.StdEncoding.EncodeToString(public)}),
	} {
		f := newForger(t, s, clock.Now())
		change(f)
		requireBad(t, v, f.sign(t, jwt.SigningMethodRS256, stranger), name)
	}

	f := newForger(t, s, clock.Now())
	requireBad(t, v, f.sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType))
	requireBad(t, v, f.sign(t, jwt.SigningMethodHS256, public))
	requireBad(t, v, f.sign(t, jwt.SigningMethodRS512, f.key))
	requireBad(t, v, f.sign(t, jwt.SigningMethodPS256, f.key))

	good := sign(t, s)
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	changed := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "jane", "joan", 1)))
	for name, text := range map[string]string{
		"empty": "", "dots": "..", "no signature": parts[0] + "." + parts[1] + ".",
		"two parts": parts[0] + "." + parts[1], "four parts": good + "." + parts[2],
		"truncated": good[:len(good)-1], "longer": good + "A", "a space": good + " ", "a line": good + "\n", "padded": good + "==",
		"changed payload": parts[0] + "." + changed + "." + parts[2], "huge": good + strings.Repeat("A", maxText),
	} {
		requireBad(t, v, text, name)
	}
}

func (s *Signer) private(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := s.file.get(fileAge)
	require.NoError(t, err)
	return k.private
}

// A clock that is a little ahead where it was signed does no harm.
func TestLeeway(t *testing.T) {
	t.Parallel()
	_, s, v, clock := open(t)
	text := sign(t, s)
	clock.turn(-leeway)
	requireGood(t, v, text)
	clock.turn(-2 * time.Second)
	requireBad(t, v, text)
}

func TestVerifierBeforeThereAreKeys(t *testing.T) {
	t.Parallel()
	dir, clock := filepath.Join(t.TempDir(), "later"), newClock()
	v, err := openVerifier(dir, clock.Now)
	require.NoError(t, err)
	requireBad(t, v, "x")
	require.NoError(t, Create(dir))
	s, err := openSigner(dir, clock.Now)
	require.NoError(t, err)
	text := sign(t, s)
	requireGood(t, v, text)
}

// Unknown keys make it look at the file, and read it only if it is another one.
func TestUnknownKeysDoNotMakeItRead(t *testing.T) {
	t.Parallel()
	_, s, v, clock := open(t)
	reads := 0
	v.file.parse = func(name string) (map[string]verifyKey, error) {
		reads++
		return parseVerify(name)
	}
	requireGood(t, v, sign(t, s))
	require.Equal(t, 1, reads)
	stranger := filepath.Join(t.TempDir(), "stranger")
	require.NoError(t, Create(stranger))
	unknown, err := openSigner(stranger, clock.Now)
	require.NoError(t, err)
	foreign := sign(t, unknown)
	for range 20 {
		requireBad(t, v, foreign)
		clock.turn(100 * time.Millisecond)
	}
	require.Equal(t, 1, reads)
}

// A key is good in every process in the moment in which it signs.
func TestNewKeyIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	dir, s, v, clock := open(t)
	requireGood(t, v, sign(t, s))
	require.NoError(t, Rotate(dir, clock.Now()))
	another, err := openSigner(dir, clock.Now)
	require.NoError(t, err)
	requireGood(t, v, sign(t, another))
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	dir, s, v, clock := open(t)
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			for range 50 {
				text, _, err := s.Sign(jane, "s", MaxAccess)
				if err != nil {
					return err
				}
				if _, _, err := v.Inspect(text); err != nil {
					return err
				}
				clock.turn(200 * time.Millisecond)
			}
			return nil
		})
	}
	for range 3 {
		require.NoError(t, Rotate(dir, clock.Now()))
	}
	require.NoError(t, group.Wait())
}

func FuzzInspect(f *testing.F) {
	_, s, v, clock := open(f)
	good := sign(f, s)
	parts := strings.Split(good, ".")
	f.Add(good)
	f.Add(good[:len(good)-2])
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add("." + parts[1] + "." + parts[2])
	f.Add(newForger(f, s, clock.Now()).sign(f, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType))
	f.Add("e30.e30.e30")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		account, _, err := v.Inspect(text)
		if err == nil {
			require.Equal(t, good, text, "only what was signed is accepted, letter by letter")
			require.Equal(t, "jane", account.ID)
			return
		}
		require.Equal(t, auth.ErrInvalidToken, err)
		require.Nil(t, account)
	})
}

func BenchmarkInspect(b *testing.B) {
	dir := b.TempDir()
	require.NoError(b, Create(dir))
	s, err := OpenSigner(dir)
	require.NoError(b, err)
	v, err := OpenVerifier(dir)
	require.NoError(b, err)
	text := sign(b, s)
	for b.Loop() {
		requireGood(b, v, text)
	}
}
