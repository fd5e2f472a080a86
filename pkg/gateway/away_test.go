package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	billing "github.com/m3o/backend/billing/proto"
	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/gateway"
	usage "github.com/m3o/backend/usage/proto"
)

var errAway = merrors.New("go.micro.client", "no node can be reached", 503)

// A revoked key is good for two seconds at most.
func TestRevokedKey(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	var revoked atomic.Bool
	s.keys.VerifyKeyCalls(func(ctx context.Context, req *customers.VerifyKeyRequest, _ ...client.CallOption) (*customers.VerifyKeyResponse, error) {
		if revoked.Load() {
			return nil, merrors.Unauthorized("customers.Keys.VerifyKey", "the key is not good")
		}
		return s.verifyKey(ctx, req)
	})
	// It is asked for beside the calls while it is used.
	s.clock.add(1500 * time.Millisecond)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	require.Eventually(t, func() bool { return s.keys.VerifyKeyCallCount() == 2 }, 10*time.Second, time.Millisecond)
	revoked.Store(true)
	s.clock.add(900 * time.Millisecond)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code, "it is not known yet")
	s.clock.add(1100 * time.Millisecond)
	requireError(t, s.call(t, janesKey), 401, "the API key is not good")
	// And when it is good again that is known a second later.
	revoked.Store(false)
	requireError(t, s.call(t, janesKey), 401, "the API key is not good")
	require.Equal(t, 3, s.keys.VerifyKeyCallCount())
	s.clock.add(time.Second)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
}

// A block is known as soon, and so are another message and its end.
func TestBlockedKey(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var message atomic.Pointer[string]
	s.keys.VerifyKeyCalls(func(ctx context.Context, req *customers.VerifyKeyRequest, _ ...client.CallOption) (*customers.VerifyKeyResponse, error) {
		if m := message.Load(); m != nil {
			return nil, merrors.Forbidden("customers.Keys.VerifyKey", "%s%s", customers.KeyIsBlocked, *m)
		}
		return s.verifyKey(ctx, req)
	})
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	s.clock.add(2 * time.Second)
	for _, m := range []string{"Top up your balance", `"Melde" dich: früh`} {
		message.Store(&m)
		r := s.call(t, janesKey)
		require.Equal(t, http.StatusForbidden, r.code)
		var answer struct{ Detail string }
		require.NoError(t, json.Unmarshal([]byte(r.body), &answer))
		require.Equal(t, "the API key is blocked: "+m, answer.Detail)
		s.clock.add(time.Second)
	}
	message.Store(nil)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
}

func TestExpiredKey(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.Equal(t, http.StatusOK, s.call(t, "expiring").code)
	s.clock.add(time.Second)
	requireError(t, s.call(t, "expiring"), 401, "the API key is not good")
}

// While customers does not answer, keys that are known are good for a minute more, and others are not decided on.
func TestCustomersAway(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	for _, err := range []error{
		errAway, errors.New("no Micro error"), merrors.InternalServerError("customers.Keys.VerifyKey", "internal error"),
		// What is about the gateway says nothing of the key.
		merrors.Unauthorized("customers.Keys.VerifyKey", "it has to be known who calls: send Authorization: Bearer and a token"),
		merrors.Unauthorized("customers.Keys.VerifyKey", "Authorization: the token is not good, or not any more: log in again"),
		merrors.Forbidden("customers.Keys.VerifyKey", "only an admin may call this"),
	} {
		s.keys.VerifyKeyCalls(nil)
		s.keys.VerifyKeyReturns(nil, err)
		s.clock.add(10 * time.Second)
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
		requireError(t, s.call(t, "key-of-joe"), 503, "it cannot be found out at the moment")
	}
	require.EqualValues(t, 6, s.metric(t, "gateway_undecided_total", "the key"))
	// Nobody waits for what does not answer.
	asked := s.keys.VerifyKeyCallCount()
	for range 100 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	require.Equal(t, asked, s.keys.VerifyKeyCallCount())
	s.clock.add(time.Second)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code, "sixty-two seconds after it was asked are not over")
	require.Eventually(t, func() bool { return s.keys.VerifyKeyCallCount() == asked+1 }, 10*time.Second, time.Millisecond)
	s.clock.add(time.Second)
	requireError(t, s.call(t, janesKey), 503, "it cannot be found out at the moment")
	s.keys.VerifyKeyCalls(s.verifyKey)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	require.Equal(t, http.StatusOK, s.call(t, "key-of-joe").code)
}

// Keys that are invented cost one question each, and are forgotten; those that are good are not, for that.
func TestInventedKeys(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	const invented = 6000 // more than are remembered
	for i := range invented {
		requireError(t, s.call(t, fmt.Sprintf("invented-%d", i)), 401, "not good")
	}
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	require.Equal(t, invented+1, s.keys.VerifyKeyCallCount())
	for range 10 {
		requireError(t, s.call(t, fmt.Sprintf("invented-%d", invented-1)), 401, "not good")
	}
	require.Equal(t, invented+1, s.keys.VerifyKeyCallCount())
}

// However many keys are invented while customers is slow: a key that is known is verified again all the same, whether it is good
// still or not.
func TestInventedKeysDoNotKeepKnownOnesWaiting(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	require.Equal(t, http.StatusOK, s.call(t, "key-of-joe").code)
	answer := make(chan struct{})
	var waiting atomic.Int64
	s.keys.VerifyKeyCalls(func(ctx context.Context, req *customers.VerifyKeyRequest, _ ...client.CallOption) (*customers.VerifyKeyResponse, error) {
		if strings.HasPrefix(req.ApiKey, "invented") {
			waiting.Add(1)
			<-answer
		}
		if req.ApiKey == "key-of-joe" {
			return nil, merrors.Unauthorized("customers.Keys.VerifyKey", "the key is not good")
		}
		return s.verifyKey(ctx, req)
	})
	var wg sync.WaitGroup
	for i := range 200 { // more than are asked about at once
		wg.Go(func() { s.call(t, fmt.Sprintf("invented-%d", i)) })
	}
	require.Eventually(t, func() bool { return waiting.Load() == 128 }, 10*time.Second, time.Millisecond)
	s.clock.add(3 * time.Second)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	requireError(t, s.call(t, "key-of-joe"), 401, "the API key is not good")
	s.clock.add(10 * time.Minute) // the grace is over
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	close(answer)
	wg.Wait()
}

// Without what has never been known nothing is decided; with what has, as long as it takes.
func TestServicesAway(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.billing.ListPricesReturns(nil, errAway)
	requireError(t, s.call(t, janesKey), 503, "it cannot be found out")
	s.billing.ListPricesReturns(newPlatform().billing.ListPrices(t.Context(), nil))
	s.usage.ReadMonthlyCalls(nil)
	s.usage.ReadMonthlyReturns(nil, errAway)
	requireError(t, s.call(t, janesKey), 503, "it cannot be found out")
	s.usage.ReadMonthlyCalls(s.readMonthly)
	tiers, err := s.billing.ListTiers(t.Context(), nil)
	require.NoError(t, err)
	s.billing.ListTiersReturns(nil, errAway)
	requireError(t, s.call(t, janesKey), 503, "it cannot be found out")
	s.billing.ListTiersReturns(tiers, nil)
	s.subscribe("free", 3)
	s.clock.add(3 * time.Second)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)

	s.billing.ListPricesReturns(nil, errAway)
	s.billing.ListTiersReturns(nil, errAway)
	s.usage.ReadMonthlyCalls(nil)
	s.usage.ReadMonthlyReturns(nil, errAway)
	s.clock.add(24 * time.Hour / 4)
	for range 2 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.requireCounted(t, 3)
}

// When the clock is set back, whatever had no answer before is asked for anew, and not only when the clock has caught up.
func TestClockIsSetBack(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.clock.add(-10 * 24 * time.Hour) // away from the month's end
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	s.clock.add(10 * time.Second)
	s.keys.VerifyKeyCalls(nil)
	s.keys.VerifyKeyReturns(nil, errAway)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	s.clock.add(-9 * time.Second)
	s.keys.VerifyKeyCalls(s.verifyKey)
	asked := s.keys.VerifyKeyCallCount()
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	require.Eventually(t, func() bool { return s.keys.VerifyKeyCallCount() == asked+1 }, 10*time.Second, time.Millisecond)

	// And what had one is no older for that: a key that was revoked meanwhile is not good until then.
	s.clock.add(-time.Hour)
	s.keys.VerifyKeyCalls(nil)
	s.keys.VerifyKeyReturns(nil, merrors.Unauthorized("customers.Keys.VerifyKey", "the key is not good"))
	requireError(t, s.call(t, janesKey), 401, "the API key is not good")
	// Nor is usage asked less often about who has used the quota up.
	s.subscribe("free", 0)
	s.clock.add(3 * time.Second)
	s.keys.VerifyKeyCalls(s.verifyKey)
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.usage.ReadMonthlyCalls(nil)
	s.usage.ReadMonthlyReturns(nil, errAway)
	s.clock.add(time.Second)
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.usage.ReadMonthlyCalls(s.readMonthly)
	s.subscribe("free", 5)
	s.clock.add(-time.Minute)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
}

// What is taken out of the catalogue, or put into it, is so within two seconds.
func TestCatalogueChanges(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	published, err := s.billing.ListPrices(t.Context(), nil)
	require.NoError(t, err)
	s.billing.ListPricesReturns(&billing.ListPricesResponse{Prices: published.Prices[1:]}, nil)
	s.clock.add(2 * time.Second)
	requireError(t, s.call(t, janesKey), 404, "no such API")
	s.billing.ListPricesReturns(published, nil)
	s.clock.add(2 * time.Second)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
}

// The token for a service is renewed long before it ends, and one that cannot be had is no fault of the caller's.
func TestTokens(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.usage.ReadMonthlyCalls(nil)
	s.usage.ReadMonthlyReturns(&usage.ReadMonthlyResponse{Tier: "free"}, nil)
	header := http.Header{"X-Api-Key": {janesKey}}
	call, err := s.Admit(t.Context(), path, header)
	require.NoError(t, err)
	require.Equal(t, "weather", call.Token.Service)
	require.Equal(t, "Bearer token-for-weather", call.Token.Authorization)
	call.Release()
	admit := func() error {
		call, err := s.Admit(t.Context(), path, header)
		if err == nil {
			call.Release()
		}
		return err
	}
	s.clock.add(149 * time.Second)
	require.NoError(t, admit())
	require.EqualValues(t, 1, s.logins.Load())
	s.clock.add(time.Second)
	require.NoError(t, admit())
	require.Eventually(t, func() bool { return s.logins.Load() == 2 }, 10*time.Second, time.Millisecond)
	s.mu.Lock()
	s.loginErr = errAway
	s.mu.Unlock()
	for range 5 {
		s.clock.add(50 * time.Second)
		require.NoError(t, admit())
	}
	s.clock.add(50 * time.Second)
	require.ErrorContains(t, admit(), "it cannot be found out")
}

// A token that its service does not take is not used again, nor are many asked for.
func TestRejectedToken(t *testing.T) {
	t.Parallel()
	s := setup(t)
	admit := func(path string) *gateway.Call {
		call, err := s.Admit(t.Context(), path, http.Header{"X-Api-Key": {janesKey}})
		require.NoError(t, err)
		call.Release()
		return call
	}
	first, maps := admit(path), admit("/v1/maps/Find")
	require.EqualValues(t, 2, s.logins.Load())
	first.Rejected()
	require.Same(t, first.Token, admit(path).Token, "it is not a second old")
	s.clock.add(time.Second)
	first.Rejected()
	second := admit(path)
	require.NotSame(t, first.Token, second.Token)
	require.EqualValues(t, 3, s.logins.Load())
	s.clock.add(time.Second)
	first.Rejected()
	require.Same(t, second.Token, admit(path).Token, "it is another one that is rejected")
	require.Same(t, maps.Token, admit("/v1/maps/Find").Token, "and another service's")
	s.clock.add(-time.Hour)
	second.Rejected()
	second.Rejected()
	require.NotSame(t, second.Token, admit(path).Token)
	require.EqualValues(t, 4, s.logins.Load())

	// Many who are told so at once, while others get it.
	s.clock.add(time.Minute)
	last := admit(path)
	s.clock.add(time.Second)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(last.Rejected)
		wg.Go(func() { admit(path) })
	}
	wg.Wait()
	require.EqualValues(t, 5, s.logins.Load())
}
