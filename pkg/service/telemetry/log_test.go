package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/service/telemetry"
)

func discard(t testing.TB) *slog.Logger {
	t.Helper()
	log, err := telemetry.NewLogger(io.Discard, "", "")
	require.NoError(t, err)
	return log
}

// buffer is written to by many goroutines.
type buffer struct {
	mu  sync.Mutex
	out bytes.Buffer
}

// Write writes a line.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

// jsonLog returns a logger and a function that takes what it has written.
func jsonLog(t *testing.T, level string) (*slog.Logger, func() []map[string]any) {
	t.Helper()
	var out buffer
	log, err := telemetry.NewLogger(&out, "json", level)
	require.NoError(t, err)
	return log, func() []map[string]any {
		out.mu.Lock()
		defer out.mu.Unlock()
		var lines []map[string]any
		for decoder := json.NewDecoder(&out.out); decoder.More(); {
			var line map[string]any
			require.NoError(t, decoder.Decode(&line))
			lines = append(lines, line)
		}
		return lines
	}
}

func TestLineOfACall(t *testing.T) {
	t.Parallel()
	log, lines := jsonLog(t, "")
	m := telemetry.New(telemetry.Config{Log: log}).Method("a", "A.B", false)
	call := m.Begin(t.Context())
	id := telemetry.TraceID(call)
	call.By(telemetry.Caller{Kind: "service", Service: "signup"})
	call.Fail("abc", "the disk of jane@example.com is full")
	call.End(500)
	got := lines()
	require.Len(t, got, 1)
	_, err := time.Parse(time.RFC3339Nano, got[0]["time"].(string))
	require.NoError(t, err)
	assert.Less(t, got[0]["duration"], 10.0)
	delete(got[0], "time")
	delete(got[0], "duration")
	assert.Equal(t, map[string]any{
		"level": "ERROR", "msg": "call failed", "service": "a", "endpoint": "A.B", "code": 500.0, "trace": id,
		"caller": "service", "caller_service": "signup", "reference": "abc", "cause": "the disk of [redacted] is full",
	}, got[0])
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		slow    time.Duration
		stream  bool
		code    int
		level   string // at which the call is logged
		message string
	}{
		"success":     {time.Hour, false, 200, "debug", "call"},
		"slow":        {1, false, 200, "info", "slow call"},
		"long stream": {1, true, 200, "debug", "call"},
		"refused":     {time.Hour, false, 404, "info", "call failed"},
		"failed":      {time.Hour, false, 503, "error", "call failed"},
		"no code":     {time.Hour, false, 7, "error", "call failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, at := range []string{"debug", "info", "warn", "error", "fatal"} {
				log, lines := jsonLog(t, at)
				call := telemetry.New(telemetry.Config{Log: log, Slow: tc.slow}).Method("a", "A.B", tc.stream).Begin(t.Context())
				call.End(tc.code)
				configured, err := logger.GetLevel(at)
				require.NoError(t, err)
				own, err := logger.GetLevel(tc.level)
				require.NoError(t, err)
				got := lines()
				if configured > own {
					require.Empty(t, got, at)
					continue
				}
				require.Len(t, got, 1, at)
				assert.Equal(t, tc.message, got[0]["msg"])
				assert.Equal(t, strings.ToUpper(tc.level), got[0]["level"])
			}
		})
	}
}

// A caller that is refused as fast as it can call does not fill the disk; failures of ours are all there.
func TestRefusedCallsAreBounded(t *testing.T) {
	t.Parallel()
	log, lines := jsonLog(t, "")
	m := telemetry.New(telemetry.Config{Log: log}).Method("a", "A.B", false)
	began := time.Now()
	const calls = 1000
	for range calls {
		m.Begin(t.Context()).End(401)
		m.Begin(t.Context()).End(500)
	}
	seconds := int(time.Since(began).Seconds()) + 2
	refused, failed := 0, 0
	for _, line := range lines() {
		if line["code"] == 401.0 {
			refused++
		} else {
			failed++
		}
	}
	assert.Equal(t, calls, failed)
	assert.LessOrEqual(t, refused, 100*seconds)
	assert.GreaterOrEqual(t, refused, 100)
}

func TestMicroLogger(t *testing.T) {
	t.Parallel()
	log, lines := jsonLog(t, "info")
	micro := telemetry.NewMicroLogger(log)
	assert.Equal(t, logger.InfoLevel, micro.Options().Level)
	assert.True(t, logger.V(logger.WarnLevel, micro))
	assert.False(t, logger.V(logger.DebugLevel, micro))
	require.NoError(t, micro.Init(logger.WithLevel(logger.TraceLevel)), "the level is the other logger's")

	micro.Log(logger.InfoLevel, "a ", 1)
	micro.Logf(logger.DebugLevel, "not %s", "this")
	micro.Fields(map[string]any{"key": errors.New("jane@example.com")}).Logf(logger.WarnLevel, "of %s\n", "jane@example.com")
	micro.Logf(logger.ErrorLevel, "grpc handler got error: %s", errors.New("a line that the call has itself"))
	got := lines()
	require.Len(t, got, 2)
	assert.Equal(t, "a 1", got[0]["msg"])
	assert.Equal(t, "INFO", got[0]["level"])
	assert.Equal(t, "of [redacted]", got[1]["msg"])
	assert.Equal(t, "[redacted]", got[1]["key"])
	assert.Equal(t, "WARN", got[1]["level"])
}

func TestFormats(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "text", "warn")
	require.NoError(t, err)
	log.Info("no")
	log.Warn("yes", "a", 1)
	assert.Regexp(t, `^time=\S+ level=WARN msg=yes a=1\n$`, out.String())
	_, err = telemetry.NewLogger(&out, "xml", "")
	require.ErrorContains(t, err, "MICRO_LOG_FORMAT: expected json or text")
	_, err = telemetry.NewLogger(&out, "", "loud")
	require.ErrorContains(t, err, "MICRO_LOG_LEVEL: expected trace, debug,")
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"jane@example.com": "[redacted]",
		`path="/v1/mk_0123456789abcdefghijABCDEFGHIJ/Now"`: `path="/v1/[redacted]/Now"`,
		"no user <jane.doe+x@example.co.uk>, sorry":        "no user <[redacted]>, sorry",
		`{"email":"jäne@exämple.com"}`:                     `{"email":"[redacted]"}`,
		"dial postgres://user:pa55@db.internal:5432/x":     "dial postgres://user:[redacted]:5432/x",
		"bad token eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl end":   "bad token [redacted] end",
		"Authorization: Bearer abcdefgh1234":               "Authorization: [redacted]",
		`password=hunter2 next`:                            `[redacted] next`,
		`{"api_key": "0123"}`:                              `{"[redacted]"}`,
		"token: expected a token":                          "token: expected a token",
		"call customers.Customers.Create: not found":       "call customers.Customers.Create: not found",
	} {
		assert.Equal(t, want, telemetry.Redact(text))
	}
}

func TestNoAddressIsLeft(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		local := rapid.StringMatching(`[a-z0-9.+_-]{3,20}`).Draw(rt, "local")
		address := "Q" + local + "@" + rapid.StringMatching(`[a-z0-9-]{1,10}\.[a-z]{2,5}`).Draw(rt, "domain")
		around := rapid.SampledFrom([]string{"", " ", "<", ">", `"`, "'", ",", ":", "(", "=", "\n", "/"})
		text := rapid.String().Draw(rt, "before") + around.Draw(rt, "left") + address + around.Draw(rt, "right")
		require.NotContains(rt, telemetry.Redact(text), "Q"+local)
	})
}
