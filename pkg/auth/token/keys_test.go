package token

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// turned is a clock that a test turns.
type turned struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *turned { return &turned{now: time.Now()} }

func (c *turned) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *turned) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var jane = &auth.Account{ID: "jane", Name: "Jane", Issuer: "micro", Type: "customer"}

// open makes keys, and returns who signs and who verifies with them.
func open(t testing.TB) (dir string, s *Signer, v *Verifier, clock *turned) {
	t.Helper()
	dir, clock = filepath.Join(t.TempDir(), "keys"), newClock()
	require.NoError(t, Create(dir))
	s, err := openSigner(dir, clock.Now)
	require.NoError(t, err)
	v, err = openVerifier(dir, clock.Now)
	require.NoError(t, err)
	return dir, s, v, clock
}

func sign(t testing.TB, s *Signer) string {
	t.Helper()
	text, _, err := s.Sign(jane, "", MaxAccess)
	require.NoError(t, err)
	return text
}

func requireGood(t testing.TB, v *Verifier, text string) {
	t.Helper()
	_, _, err := v.Inspect(text)
	require.NoError(t, err)
}

func requireBad(t testing.TB, v *Verifier, text string, what ...any) {
	t.Helper()
	account, _, err := v.Inspect(text)
	require.Equal(t, auth.ErrInvalidToken, err, what...)
	require.Nil(t, account, what...)
}

func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, name := range []string{signingFile, verifyFile} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		found[name] = string(text)
	}
	return found
}

func TestCreateMakesKeysOnce(t *testing.T) {
	t.Parallel()
	dir, _, _, _ := open(t)
	before := contents(t, dir)
	require.NoError(t, Create(dir))
	require.Equal(t, before, contents(t, dir))
	require.NotContains(t, before[verifyFile], "PRIVATE")

	_, err := LoadRoot(dir)
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 4, "no draft is left")
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), e.Name())
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestRotation(t *testing.T) {
	t.Parallel()
	dir, s, v, clock := open(t)
	first := sign(t, s)
	requireGood(t, v, first)

	require.NoError(t, Rotate(dir, clock.Now()))
	clock.turn(fileAge - time.Millisecond)
	late := sign(t, s)
	clock.turn(time.Millisecond)
	second := sign(t, s)
	require.Equal(t, kid(t, first), kid(t, late), "the signer has not looked yet")
	require.NotEqual(t, kid(t, first), kid(t, second))
	for _, text := range []string{first, late, second} {
		requireGood(t, v, text)
	}
	// What the former key has signed last is good for as long as any other, and the key for not much longer.
	clock.turn(MaxAccess - time.Second)
	requireGood(t, v, late)
	clock.turn(time.Minute)
	k := clock.Now()
	parsed, err := readKeys(filepath.Join(dir, verifyFile))
	require.NoError(t, err)
	require.Len(t, parsed.Keys, 2)
	require.False(t, parsed.Keys[0].verifies(k))
	require.True(t, parsed.Keys[1].verifies(k))

	require.NoError(t, Rotate(dir, clock.Now()))
	parsed, err = readKeys(filepath.Join(dir, verifyFile))
	require.NoError(t, err)
	require.Len(t, parsed.Keys, 2, "the first one is forgotten")
	require.NotContains(t, contents(t, dir)[verifyFile], kid(t, first))
}

// A key that verifies no longer is refused also for a token that would be good otherwise, as one made with a stolen key.
func TestRetiredKeyVerifiesNothing(t *testing.T) {
	t.Parallel()
	dir, s, v, clock := open(t)
	stolen, err := s.file.get(fileAge)
	require.NoError(t, err)
	require.NoError(t, Rotate(dir, clock.Now()))
	forge := func() string {
		thief := &Signer{clock: clock.Now, file: &watched[signingKey]{clock: clock.Now}}
		thief.file.last.Store(&reading[signingKey]{value: stolen, checked: clock.Now()})
		return sign(t, thief)
	}
	requireGood(t, v, forge())
	clock.turn(retiredAge - time.Second)
	requireGood(t, v, forge())
	clock.turn(time.Second)
	requireBad(t, v, forge())
}

// Rotate is killed after each of its writes: what was signed and what is signed stays good, and the next Create mends it.
func TestRotationThatWasKilled(t *testing.T) {
	t.Parallel()
	for step := range 2 {
		dir, s, v, clock := open(t)
		text := sign(t, s)
		signing, err := readKeys(filepath.Join(dir, signingFile))
		require.NoError(t, err)
		verify, err := readKeys(filepath.Join(dir, verifyFile))
		require.NoError(t, err)
		next, err := newKey(clock.Now())
		require.NoError(t, err)
		public, err := next.public()
		require.NoError(t, err)
		require.NoError(t, writeKeys(dir, verifyFile, append(verify.Keys, public)))
		current := signing.Keys[0].ID
		if step == 1 {
			require.NoError(t, writeKeys(dir, signingFile, []key{next}))
			current = next.ID
		}

		clock.turn(fileAge)
		requireGood(t, v, text)
		require.Equal(t, current, kid(t, sign(t, s)))
		requireGood(t, v, sign(t, s))
		require.NoError(t, Create(dir))
		clock.turn(fileAge)
		requireGood(t, v, text)
		requireGood(t, v, sign(t, s))
		mended, err := readKeys(filepath.Join(dir, verifyFile))
		require.NoError(t, err)
		require.Len(t, mended.Keys, 2)
		for _, k := range mended.Keys {
			require.Equal(t, k.ID == current, k.Until.IsZero(), "the other one retires")
		}
	}
}

func TestCreateRestoresWhatVerifies(t *testing.T) {
	t.Parallel()
	dir, s, v, clock := open(t)
	require.NoError(t, os.Remove(filepath.Join(dir, verifyFile)))
	require.NoError(t, Create(dir))
	clock.turn(fileAge)
	requireGood(t, v, sign(t, s))
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := make(chan string, 8)
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error {
			if i%4 == 0 {
				return Rotate(dir, time.Now())
			}
			root, err := LoadRoot(dir)
			roots <- string(root)
			if err != nil {
				return err
			}
			return Create(dir)
		})
	}
	require.NoError(t, group.Wait())
	close(roots)
	first := <-roots
	for root := range roots {
		require.Equal(t, first, root)
	}
	signing, err := readKeys(filepath.Join(dir, signingFile))
	require.NoError(t, err)
	verify, err := readKeys(filepath.Join(dir, verifyFile))
	require.NoError(t, err)
	require.Len(t, signing.Keys, 1)
	var current []string
	for _, k := range verify.Keys {
		if k.Until.IsZero() {
			current = append(current, k.ID)
		}
	}
	require.Equal(t, []string{signing.Keys[0].ID}, current)
}

func TestKeysThatCannotBeRead(t *testing.T) {
	t.Parallel()
	_, err := OpenSigner(t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, text := range []string{"", "{", `{"keys":[]}`, `{"keys":[{"id":"x","pem":"y"}]}`} {
		dir, s, v, clock := open(t)
		good := sign(t, s)
		requireGood(t, v, good)
		require.NoError(t, os.WriteFile(filepath.Join(dir, signingFile), []byte(text), 0o600))
		clock.turn(fileAge)
		_, _, err := s.Sign(jane, "", MaxAccess)
		require.Error(t, err, "it does not sign with a key that may be retired")
		require.NoError(t, os.WriteFile(filepath.Join(dir, verifyFile), []byte("{"), 0o600))
		clock.turn(fileAge)
		requireGood(t, v, good)
	}
}
