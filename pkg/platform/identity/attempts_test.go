package identity

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/errors"
)

func (f *fixture) logInFrom(address, id, secret string) error {
	_, err := f.token(from(context.Background(), address), &pb.TokenRequest{Id: id, Secret: secret})
	return err
}

func TestAttemptsAtAnAccount(t *testing.T) {
	t.Parallel()
	f := setup(t)
	_, err := f.generate(admin(), &pb.GenerateRequest{Id: "1", Name: "jane", Secret: secret})
	require.NoError(t, err)
	for n := range 3 * accountBurst {
		require.NoError(t, f.logInFrom("192.0.2.1", "jane", secret), "those that succeed are not counted: %d", n)
	}
	for n := range accountBurst {
		login := []string{"1", "jane"}[n%2]
		require.Equal(t, errCredentials, f.logInFrom(fmt.Sprintf("192.0.2.%d:1", n), login, "wrong"))
	}
	for _, login := range []string{"1", "jane"} {
		err := f.logInFrom("192.0.2.99", login, secret)
		requireKind(t, errors.KindTooMany, err, "not even with the right one")
		require.EqualError(t, err, "too many attempts have failed: try again in 30 seconds")
	}
	requireKind(t, errors.KindTooMany, f.changeSecret(customer("1"), "1", secret, "another secret"))
	f.turn(accountInterval - time.Second)
	require.EqualError(t, f.logInFrom("192.0.2.99", "jane", secret), "too many attempts have failed: try again in 1 seconds")
	f.turn(time.Second)
	require.NoError(t, f.logInFrom("192.0.2.99", "jane", secret))
	require.Equal(t, errCredentials, f.logInFrom("192.0.2.99", "jane", "wrong"))
	requireKind(t, errors.KindTooMany, f.logInFrom("192.0.2.99", "jane", secret))
}

func TestAttemptsFromAnAddress(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	issued, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	for n := range addressBurst {
		if n%2 == 0 {
			require.Equal(t, errCredentials, f.logInFrom("198.51.100.7:1", fmt.Sprint("guess", n), "wrong"))
			continue
		}
		_, err := f.token(from(context.Background(), "198.51.100.7:2"), &pb.TokenRequest{RefreshToken: "guess"})
		requireLogInAgain(t, err)
	}
	requireKind(t, errors.KindTooMany, f.logInFrom("198.51.100.7:3", "jane", secret))
	_, err = f.token(from(context.Background(), "198.51.100.7"), &pb.TokenRequest{RefreshToken: "guess"})
	requireKind(t, errors.KindTooMany, err)
	_, err = f.token(from(context.Background(), "198.51.100.7"), &pb.TokenRequest{RefreshToken: issued.RefreshToken})
	require.NoError(t, err, "whoever is logged in goes on")
	require.NoError(t, f.logInFrom("198.51.100.8", "jane", secret))
	f.turn(addressInterval)
	require.NoError(t, f.logInFrom("198.51.100.7", "jane", secret))
}

func TestAddressOf(t *testing.T) {
	t.Parallel()
	for forwarded, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1:80": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64", "[2001:db8:1:2:ffff::]:443": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
		"": "unknown", "x": "unknown", "192.0.2.1, 192.0.2.2": "unknown",
	} {
		require.Equal(t, want, addressOf(from(context.Background(), forwarded)), forwarded)
	}
	require.Equal(t, "unknown", addressOf(context.Background()))
	require.Equal(t, "192.0.2.9", addressOf(metadata.NewContext(context.Background(), metadata.Metadata{"Remote": "192.0.2.9:5"})))
}

func TestBucketsAreBounded(t *testing.T) {
	t.Parallel()
	f := setup(t)
	a := newAttempts(f.clock)
	victim := source{account: "victim", address: "victim"}
	for range accountBurst {
		a.failed(victim)
	}
	for n := range maxBuckets + 100 {
		a.failed(source{account: fmt.Sprint("a", n), address: fmt.Sprint("b", n)})
	}
	require.LessOrEqual(t, len(a.accounts.byKey), maxBuckets)
	require.LessOrEqual(t, len(a.addresses.byKey), maxBuckets)
	requireKind(t, errors.KindTooMany, a.check(victim), "who has failed most is forgotten last")

	f.turn(accountInterval + time.Second) // all others are full again
	a.failed(source{account: "one more", address: "x"})
	require.Len(t, a.accounts.byKey, 2)
	require.NoError(t, a.check(victim))
}

// However many guess at once, no more secrets are tried than may fail and are tried at the same time.
func TestAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	synctest.Test(t, func(t *testing.T) {
		f.secrets.slots = make(chan struct{}, 2)
		for range cap(f.secrets.slots) {
			f.secrets.slots <- struct{}{}
		}
		const guesses = 100
		answers := make(chan errors.Kind, guesses)
		for n := range guesses {
			go func() { answers <- errors.KindOf(f.logInFrom(fmt.Sprintf("192.0.2.%d", n), "jane", "wrong")) }()
		}
		synctest.Wait() // all of them have found that they may try, and wait for a processor
		for range cap(f.secrets.slots) {
			<-f.secrets.slots
		}
		count := make(map[errors.Kind]int)
		for range guesses {
			count[<-answers]++
		}
		tried := count[errors.KindUnauthenticated]
		require.Equal(t, guesses, tried+count[errors.KindTooMany])
		require.GreaterOrEqual(t, tried, accountBurst)
		require.Less(t, tried, accountBurst+cap(f.secrets.slots))
	})
}

// While all processors are busy with secrets, others wait for a moment, and then are told to come back.
func TestSecretsQueue(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	for range cap(f.secrets.slots) {
		leave, err := f.secrets.enter(context.Background())
		require.NoError(t, err)
		defer leave()
	}
	ctx, cancel := context.WithCancel(nobody())
	cancel()
	_, err := f.token(ctx, &pb.TokenRequest{Id: "jane", Secret: secret})
	requireKind(t, errors.KindTooMany, err)
	require.EqualError(t, err, "too many are logging in or signing up: try again in 3 seconds")
	// What checks no secret goes on.
	_, err = f.logInAs("platform/server", f.Root.Secret("platform/server"))
	require.NoError(t, err)
}
