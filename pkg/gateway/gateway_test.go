package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/context/metadata"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/gateway"
	usage "github.com/m3o/backend/usage/proto"
)

func TestCallsReachTheServiceAsTheCustomer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target, body, endpoint, sent string
		header                                     []string
	}{
		{"key of its own", "POST", path, `{"place":"Oslo"}`, "weather Weather.Now", `{"place":"Oslo"}`, []string{"X-Api-Key", janesKey}},
		{"bearer", "POST", path, `{}`, "weather Weather.Now", `{}`, []string{"Authorization", "Bearer " + janesKey}},
		{"both", "POST", path, `{}`, "weather Weather.Now", `{}`, []string{"Authorization", "Bearer " + janesKey, "X-Api-Key", janesKey}},
		{"bearer in lower case", "POST", path, `{}`, "weather Weather.Now", `{}`, []string{"Authorization", "bearer " + janesKey}},
		{"another scheme beside it", "POST", path, `{}`, "weather Weather.Now", `{}`, []string{
			"Authorization", "Basic am9lOmpvZQ==", "X-Api-Key", janesKey,
		}},
		{"lower case", "POST", "/v1/weather/now", `{}`, "weather Weather.Now", `{}`, []string{"X-Api-Key", janesKey}},
		{"hyphens", "POST", "/v1/weather/forecast-for", ``, "weather Weather.ForecastFor", `{}`, []string{"X-Api-Key", janesKey}},
		{"query", "GET", path + "?place=Oslo", ``, "weather Weather.Now", `{"place":"Oslo"}`, []string{"X-Api-Key", janesKey}},
		{"scope", "POST", path, `{}`, "weather Weather.Now", `{}`, []string{"X-Api-Key", "for-weather"}},
		{"scope of one", "POST", path, `{}`, "weather Weather.Now", `{}`, []string{"X-Api-Key", "for-now"}},
		{"public", "POST", "/v1/weather/Public", `{}`, "weather Weather.Public", `{}`, []string{"X-Api-Key", janesKey}},
		{"forged", "POST", path, `{}`, "weather Weather.Now", `{}`, []string{
			"X-Api-Key", janesKey, "Customer-Id", joe, "Api-Key-Id", "joes", "Cookie", "micro-token=x",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			r := s.do(t, c.method, c.target, c.body, c.header...)
			require.Equal(t, http.StatusOK, r.code, r.body)
			require.JSONEq(t, `{"temperature":5}`, r.body)
			require.Equal(t, c.endpoint, s.sold.endpoint)
			require.JSONEq(t, c.sent, s.sold.body)
			md := s.sold.metadata
			require.Equal(t, jane, md["Customer-Id"])
			require.Contains(t, md["Api-Key-Id"], "id-of-")
			require.NotEmpty(t, md["X-Request-Id"])
			require.Equal(t, r.header.Get("X-Request-Id"), md["X-Request-Id"])
			for name, value := range md {
				require.NotContains(t, value, janesKey+"x", name)
				require.NotEqual(t, "Authorization", name)
				require.NotEqual(t, "X-Api-Key", name)
			}
			require.Len(t, md, 5, "%v", metadata.Metadata(md))
			s.requireCounted(t, 1)
			for _, counted := range s.counted {
				require.Equal(t, jane, counted.CustomerId)
				require.Equal(t, md["Api-Key-Id"], counted.ApiKeyId)
				require.Equal(t, "weather", counted.ApiName)
				require.Equal(t, strings.TrimPrefix(c.endpoint, "weather Weather."), counted.EndpointName)
				url, _, _ := strings.Cut(c.target, "?")
				require.Equal(t, url, counted.Url)
				require.EqualValues(t, 200, counted.Status)
				require.EqualValues(t, 1, counted.Units)
				require.Equal(t, s.clock.now().UTC(), counted.Time.AsTime())
				require.Contains(t, []int64{0, 100, 500}, counted.Price)
				require.Equal(t, uuid.Version(7), uuid.MustParse(counted.Id).Version())
			}
		})
	}
}

func TestWhoIsNotLetThrough(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		target string
		header []string
		code   int
		detail string
		result string
	}{
		{"no key", path, nil, 401, "an API key is needed", "no_key"},
		{"empty key", path, []string{"X-Api-Key", ""}, 401, "an API key is needed", "no_key"},
		{"empty bearer", path, []string{"Authorization", "Bearer "}, 401, "an API key is needed", "no_key"},
		{"another scheme", path, []string{"Authorization", "Basic " + janesKey}, 401, "an API key is needed", "no_key"},
		{"a scheme alone", path, []string{"Authorization", "Bearer"}, 401, "an API key is needed", "no_key"},
		{"no scheme", path, []string{"Authorization", janesKey}, 401, "an API key is needed", "no_key"},
		{"another scheme beside none", path, []string{"Authorization", "Basic x", "X-Api-Key", ""}, 401, "an API key is needed", "no_key"},
		{"two keys in lower case", path, []string{"Authorization", "bearer " + janesKey, "X-Api-Key", "key-of-joe"}, 401, "expected one API key", "no_key"},
		{"no key and one", path, []string{"Authorization", "Bearer ", "X-Api-Key", janesKey}, 401, "expected one API key", "no_key"},
		{"two keys", path, []string{"Authorization", "Bearer " + janesKey, "X-Api-Key", "key-of-joe"}, 401, "expected one API key", "no_key"},
		{"a key twice", path, []string{"X-Api-Key", janesKey, "X-Api-Key", janesKey}, 401, "expected one API key", "no_key"},
		{"a header twice", path, []string{"Authorization", "Bearer " + janesKey, "Authorization", "Bearer x"}, 401, "expected one API key", "no_key"},
		{"unknown", path, []string{"X-Api-Key", "revoked"}, 401, "the API key is not good", "unknown_key"},
		{"no text", path, []string{"X-Api-Key", "a\xffb"}, 401, "the API key is not good", "unknown_key"},
		{"with a space", path, []string{"X-Api-Key", janesKey + " x"}, 401, "the API key is not good", "unknown_key"},
		{"long", path, []string{"X-Api-Key", strings.Repeat("x", 257)}, 401, "the API key is not good", "unknown_key"},
		{"banned", path, []string{"X-Api-Key", "banned"}, 403, "is not active", "inactive"},
		{"blocked", path, []string{"X-Api-Key", "blocked"}, 403, "the API key is blocked: only an admin may call this", "blocked"},
		{"scope", path, []string{"X-Api-Key", "for-maps"}, 403, "not for this endpoint", "scope"},
		{"scope of another endpoint", "/v1/weather/Change", []string{"X-Api-Key", "for-now"}, 403, "not for this endpoint", "scope"},
		{"unpublished API", "/v1/customers/Read", []string{"X-Api-Key", janesKey}, 404, "no such API", "unpublished"},
		{"unpublished endpoint", "/v1/weather/Secret", []string{"X-Api-Key", janesKey}, 404, "no such API", "unpublished"},
		{"published, not there", "/v1/weather/Missing", []string{"X-Api-Key", janesKey}, 404, "no such endpoint", "allowed"},
		{"published, an admin's", "/v1/weather/Internal", []string{"X-Api-Key", janesKey}, 404, "no such endpoint", "allowed"},
		{"published, a customer's", "/v1/weather/Own", []string{"X-Api-Key", janesKey}, 404, "no such endpoint", "allowed"},
		{"published, away", "/v1/gone/Now", []string{"X-Api-Key", janesKey}, 503, "cannot be reached", "allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			r := s.do(t, "POST", c.target, `{}`, c.header...)
			requireError(t, r, c.code, c.detail)
			if c.code == http.StatusUnauthorized {
				require.Equal(t, "Bearer", r.header.Get("WWW-Authenticate"))
			}
			require.NotContains(t, r.body, janesKey)
			require.EqualValues(t, 1, s.metric(t, "gateway_calls_total", c.result))
			require.Zero(t, s.sold.calls.Load(), "it has reached the service")
			// None of the quota is gone.
			s.subscribe("free", 1)
			require.Equal(t, http.StatusOK, s.call(t, "key-of-joe").code)
			s.requireCounted(t, 1)
		})
	}
}

// What is refused before it reaches the service is not counted.
func TestBadRequestsAreNotCounted(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("free", 1)
	for _, c := range []struct{ method, target, body, contentType string }{
		{"POST", path, `[`, ""}, {"POST", path, `[]`, ""}, {"POST", path, `{}`, "text/plain"}, {"PUT", path, `{}`, ""},
		{"GET", "/v1/weather/Change", ``, ""}, {"GET", path + "?%zz", ``, ""}, {"POST", path, strings.Repeat(" ", 5<<20), ""},
	} {
		r := s.do(t, c.method, c.target, c.body, "X-Api-Key", janesKey, "Content-Type", c.contentType)
		require.GreaterOrEqual(t, r.code, 400)
		require.Less(t, r.code, 500)
	}
	require.Zero(t, s.sold.calls.Load())
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	requireError(t, s.call(t, janesKey), 429, "the quota")
	s.requireCounted(t, 1)
}

// No way of writing a path leads to what is not published, or to anything but what it says; and nobody is asked about it.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	for _, target := range []string{
		"/v1", "/v1/", "/v1/weather", "/v1/weather/", "/v1/weather/Now/", "/v1/weather//Now", "/v1//weather/Now", "//v1/weather/Now",
		"/v1/weather/Weather/Now", "/v1/weather/Now/x", "/v1/weather/Now%2f", "/v1/weather%2FNow", "/v1/weather/N%6Fw", "/v1/%77eather/Now",
		"/%761/weather/Now", "/v1%2fweather/Now", "/v1/weather/..", "/v1/../weather/Now", "/v1/./weather/Now", "/v1/weather/./Now",
		"/v1/weather/%2e%2e/Now", "/v1/weather/Now.", "/v1/weather/Weather.Now", "/v1/Weather/Now", "/V1/weather/Now", "/v1/weather/NOW",
		"/v1/weather/Now;x=1", "/v1/weather/Now%00", "/v1/weather/Now%20", "/v1/weather/Now+", "/v1/weather/now-", "/v1/weather/-now",
		"/v1/weather/N--ow", "/v1/weather/Nów", "/v1/weather/Now\\x", "/v1\\weather\\Now", "/v1/weather/*", "/weather/Now", "/v1/v1/weather/Now",
		"/v1/weather/" + strings.Repeat("N", 65),
	} {
		r := s.do(t, "POST", (target), `{}`, "X-Api-Key", janesKey)
		requireError(t, r, 404, "")
	}
	require.EqualValues(t, 1, s.sold.calls.Load())
	require.Equal(t, 1, s.keys.VerifyKeyCallCount())
	s.requireCounted(t, 1)
}

// A thousand calls with one key ask each question once.
func TestEachQuestionIsAskedOnce(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 100 {
				if r := s.call(t, janesKey); r.code != http.StatusOK {
					t.Error(r)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, s.keys.VerifyKeyCallCount())
	require.Equal(t, 1, s.usage.ReadMonthlyCallCount())
	require.Equal(t, 1, s.billing.ListPricesCallCount())
	require.Equal(t, 1, s.billing.ListTiersCallCount())
	require.EqualValues(t, 1, s.logins.Load())
	s.requireCounted(t, 1000)
	require.LessOrEqual(t, s.usage.RecordCallCount(), 30, "in batches")
	require.EqualValues(t, 1000, s.metric(t, "gateway_recorded_total"))
	require.Eventually(t, func() bool { return s.metric(t, "gateway_journal_age_seconds") == 0 }, 10*time.Second, time.Millisecond)
}

func TestWhatIsCounted(t *testing.T) {
	t.Parallel()
	const service, client = "weather.Weather.Now", "go.micro.client"
	for _, c := range []struct {
		name    string
		err     error
		code    int
		counted int
	}{
		{"success", nil, 200, 1},
		{"bad request", merrors.BadRequest(service, "place: required"), 400, 1},
		{"not found", merrors.NotFound(service, "no such place"), 404, 1},
		{"too many", merrors.New(service, "slow down", 429), 429, 1},
		{"the gateway refused", merrors.Forbidden(service, "only the gateway may call this"), 503, 0},
		{"internal", merrors.InternalServerError(service, "internal error"), 500, 0},
		{"unavailable", merrors.ServiceUnavailable(service, "stopping"), 503, 0},
		{"unreachable", merrors.New(client, "no node of 10.0.0.1", 503), 503, 0},
		{"timeout", merrors.Timeout(client, "the deadline has passed"), 504, 0},
		{"too large for the client", merrors.New(client, "larger", 413), 503, 0},
		{"no Micro error", errors.New("connection reset by 10.0.0.1"), 503, 0},
		{"no status", merrors.New(service, "x", 42), 503, 0},
		{"success as an error", merrors.New(service, "x", 204), 503, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			s.subscribe("free", 2)
			s.sold.fails(c.err)
			for range 2 {
				r := s.call(t, janesKey)
				require.Equal(t, c.code, r.code, r.body)
				require.NotContains(t, r.body, "10.0.0.1")
			}
			s.sold.fails(nil)
			for range 3 { // what was not counted has taken nothing of the quota
				s.call(t, janesKey)
			}
			s.requireCounted(t, 2)
			with := 0
			for _, r := range s.counted {
				if int(r.Status) == c.code {
					with++
				}
			}
			require.Equal(t, 2*c.counted, with)
		})
	}
}

// A panic on the way leaves nothing taken.
func TestPanicsAreNotCounted(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("free", 1)
	s.sold.answer = "" // not JSON, but no panic
	call, err := s.Admit(t.Context(), path, http.Header{"X-Api-Key": {janesKey}})
	require.NoError(t, err)
	_, err = s.Admit(t.Context(), path, http.Header{"X-Api-Key": {janesKey}})
	require.Error(t, err)
	call.Release()
	call.Release()
	require.Error(t, call.Count(200), "it is settled")
	call, err = s.Admit(t.Context(), path, http.Header{"X-Api-Key": {janesKey}})
	require.NoError(t, err)
	require.NoError(t, call.Count(200))
	call.Release()
	_, err = s.Admit(t.Context(), path, http.Header{"X-Api-Key": {janesKey}})
	refused := new(gateway.Refusal)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 12*time.Hour, refused.RetryAfter, "when the month ends")
	require.ErrorContains(t, err, "quota")
	s.requireCounted(t, 1)
}

func TestRate(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("slow", -1)
	calls := func() (passed int) {
		for range 10 {
			r := s.call(t, janesKey)
			if r.code == http.StatusOK {
				passed++
				continue
			}
			requireError(t, r, 429, "more calls a second")
			require.Equal(t, "1", r.header.Get("Retry-After"))
		}
		return passed
	}
	require.Equal(t, 2, calls())
	require.Equal(t, http.StatusOK, s.call(t, "key-of-joe").code, "it is each customer's own")
	s.clock.add(500 * time.Millisecond)
	require.Equal(t, 1, calls())
	s.clock.add(time.Hour)
	require.Equal(t, 2, calls(), "no more than a second's")
	s.subscribe("pro", -1)
	s.clock.add(2 * time.Second)
	require.Equal(t, 10, calls())
	s.subscribe("none", -1)
	s.clock.add(2 * time.Second)
	requireError(t, s.call(t, janesKey), 429, "the tier has no calls")
	// A tier that billing does not list is held to what the slowest has.
	s.subscribe("unlisted", -1)
	s.clock.add(time.Hour)
	require.Equal(t, 2, calls())
}

// However many call at once, exactly the quota is let through.
func TestQuotaIsExact(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("free", 100)
	s.used[jane] = 20
	var passed, refused atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				switch r := s.call(t, janesKey); r.code {
				case http.StatusOK:
					passed.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 80, passed.Load())
	require.EqualValues(t, 320, refused.Load())
	require.Equal(t, http.StatusOK, s.call(t, "key-of-joe").code)
	s.requireCounted(t, 81)
	for range 5 { // what usage says by now includes them
		s.clock.add(3 * time.Second)
		requireError(t, s.call(t, janesKey), 429, "quota")
	}
}

// At the quota, another tier counts at once; and usage is not asked more than five times a second.
func TestTierCountsAtOnce(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("free", 1)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	for range 50 {
		r := s.call(t, janesKey)
		requireError(t, r, 429, "the quota of the month is used up")
		require.Equal(t, "43200", r.header.Get("Retry-After"))
	}
	require.Equal(t, 1, s.usage.ReadMonthlyCallCount())
	for i := range 5 {
		s.clock.add(200 * time.Millisecond)
		for range 10 {
			requireError(t, s.call(t, janesKey), 429, "quota")
		}
		require.Equal(t, i+2, s.usage.ReadMonthlyCallCount())
	}
	s.subscribe("pro", 3)
	s.clock.add(200 * time.Millisecond)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.subscribe("pro", -1)
	s.clock.add(200 * time.Millisecond)
	for range 10 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
}

// A month's quota is of the month, in UTC, whether usage answers or not.
func TestMonthEnds(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("free", 2)
	for range 2 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.requireCounted(t, 2)
	s.clock.add(12*time.Hour - time.Second)
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.usage.ReadMonthlyCalls(nil)
	s.usage.ReadMonthlyReturns(nil, errors.New("away"))
	s.clock.add(time.Second)
	for range 2 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.usage.ReadMonthlyCalls(s.readMonthly)
	s.clock.add(3 * time.Second)
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.requireCounted(t, 4)
}

// A clock that was ahead of the month's end, and is set back, gives nobody another quota, and takes none away.
func TestClockIsSetBackOverTheMonthsEnd(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("free", 3)
	for range 2 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	header := http.Header{"X-Api-Key": {janesKey}}
	underWay, err := s.Admit(t.Context(), path, header)
	require.NoError(t, err)
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.requireCounted(t, 2)
	s.clock.add(24 * time.Hour)
	for range 3 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.requireCounted(t, 5)

	// Nobody but this process knows.
	s.usage.ReadMonthlyCalls(nil)
	s.usage.ReadMonthlyReturns(nil, errAway)
	s.clock.add(-24 * time.Hour)
	requireError(t, s.call(t, janesKey), 429, "quota")
	underWay.Release()
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.requireCounted(t, 6)
	may := 0
	for _, r := range s.counted {
		if r.Time.AsTime().Month() == time.May {
			may++
		}
	}
	require.Equal(t, 3, may)

	// What it does not know usage does.
	s.used[joe] = 3
	s.usage.ReadMonthlyReturns(&usage.ReadMonthlyResponse{Tier: "free", Quotas: s.quotas}, nil)
	s.clock.add(24 * time.Hour)
	require.Equal(t, http.StatusOK, s.call(t, "key-of-joe").code)
	s.usage.ReadMonthlyCalls(s.readMonthly)
	s.clock.add(-24 * time.Hour)
	requireError(t, s.call(t, "key-of-joe"), 429, "quota")
}

// What an operator takes off a customer's count is theirs again.
func TestCorrection(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("free", 10)
	s.used[jane] = 8
	for range 2 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	s.requireCounted(t, 2)
	s.clock.add(3 * time.Second)
	requireError(t, s.call(t, janesKey), 429, "quota")
	s.mu.Lock()
	s.used[jane] = 5
	s.mu.Unlock()
	s.clock.add(3 * time.Second)
	for range 3 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	requireError(t, s.call(t, janesKey), 429, "quota")
}

// A call that was let through in one month and is given back in the next takes nothing of either.
func TestGivenBackInAnotherMonth(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.subscribe("free", 1)
	header := http.Header{"X-Api-Key": {janesKey}}
	call, err := s.Admit(t.Context(), path, header)
	require.NoError(t, err)
	s.clock.add(13 * time.Hour)
	second, err := s.Admit(t.Context(), path, header)
	require.NoError(t, err)
	call.Release()
	_, err = s.Admit(t.Context(), path, header)
	require.ErrorContains(t, err, "quota")
	second.Release()
	_, err = s.Admit(t.Context(), path, header)
	require.NoError(t, err)
}

func TestWhatIsMissingInTheConfig(t *testing.T) {
	t.Parallel()
	_, err := gateway.New(gateway.Config{})
	require.EqualError(t, err, "gateway: expected clients of customers, usage, billing and auth")
	config := gateway.Services(newPlatform().sold, "secret")
	_, err = gateway.New(config)
	require.EqualError(t, err, "gateway: expected a directory")
	config.Dir = t.TempDir()
	_, err = gateway.New(config)
	require.EqualError(t, err, fmt.Sprintf("gateway: a journal of 0 bytes: expected at least %d", 1<<20))
}
