package edge

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/micro/micro/v3/service/client/grpc"
	"github.com/micro/micro/v3/service/logger"
	"github.com/stretchr/testify/require"
)

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) write(level logger.Level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, level.String()+" "+fmt.Sprintf(format, args...))
}

func setupLogged(t *testing.T) (*caller, http.Handler, *lines) {
	t.Helper()
	c, l := &caller{Client: grpc.NewClient(), answer: `{"ok":true}`}, &lines{}
	h, err := New(Config{Client: c, Services: services{}, Settings: settings(), Log: l.write})
	require.NoError(t, err)
	return c, h, l
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	for _, c := range []struct{ name, method, target, want string }{
		{"call", "POST", "/customers/Create?token=" + secret, `info request method="POST" path="/customers/Create" status=200 bytes=11 `},
		{"head", "HEAD", "/customers/Read?id=" + secret, `info request method="HEAD" path="/customers/Read" status=200 bytes=0 `},
		{"refused", "DELETE", "/customers/Create", `info request method="DELETE" path="/customers/Create" status=405 bytes=`},
		{"newline", "POST", "/customers/a%0aforged", `info request method="POST" path="/customers/a%0aforged" status=404 bytes=`},
		{"quote", "POST", `/a"%20status=200`, `info request method="POST" path="/a%22%20status=200" status=404 bytes=`},
		{"not ASCII", "POST", "/\u202e\u009b", `info request method="POST" path="/%E2%80%AE%C2%9B" status=404 bytes=`},
		{"long", strings.Repeat("M", 99), "/" + strings.Repeat("x", 500), `info request method="` + strings.Repeat("M", 16) + `"... path="/` + strings.Repeat("x", 199) + `"... status=404 `},
		{"root", "GET", "/", `debug request method="GET" path="/" status=200 `},
		{"probe", "GET", "/healthz", `debug request method="GET" path="/healthz" status=200 `},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, h, log := setupLogged(t)
			a := do(t, h, c.method, c.target, `{"secret":"`+secret+`"}`, "Authorization", "Bearer "+secret, "Cookie", secret, "X-Request-Id", secret)
			require.Len(t, log.all, 1)
			line := log.all[0]
			require.True(t, strings.HasPrefix(line, c.want), line)
			require.Regexp(t, regexp.MustCompile(` duration_ms=\d+\.\d{3} remote=192\.0\.2\.1 id=`+a.Header.Get("X-Request-Id")+`$`), line)
			require.NotContains(t, line, secret)
			require.NotContains(t, line, "\n")
		})
	}
}

// keeping is a logger that can keep lines.
type keeping struct {
	logger.Logger
	kept, flushed []string
}

func (k *keeping) Often(level logger.Level, line string) {
	k.kept = append(k.kept, level.String()+" "+line)
}

func (k *keeping) Flush() { k.flushed, k.kept = append(k.flushed, k.kept...), nil }

// plain is one that cannot.
type plain struct {
	logger.Logger
	lines []string
}

func (p *plain) Log(level logger.Level, v ...any) {
	p.lines = append(p.lines, level.String()+" "+fmt.Sprint(v...))
}

func TestLinesAreKeptByALoggerThatCan(t *testing.T) {
	t.Parallel()
	k, p := &keeping{}, &plain{}
	for _, l := range []logger.Logger{k, p} {
		writeOften(l, logger.InfoLevel, "a 100%")
	}
	require.Equal(t, []string{"info a 100%"}, k.kept)
	require.Equal(t, []string{"info a 100%"}, p.lines)
	for _, l := range []logger.Logger{k, p} {
		flushLog(l)
	}
	require.Equal(t, []string{"info a 100%"}, k.flushed)
	require.Empty(t, k.kept)
}

// No two requests have the same id, and each has as many letters as there are for 130 bits.
func TestIDsDiffer(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 10000 {
		id := newID()
		require.Regexp(t, `^[A-Z2-7]{26}$`, id)
		require.False(t, seen[id])
		seen[id] = true
	}
}
