package edge

import (
	"net/http"
	"strconv"
	"time"

	"github.com/micro/micro/v3/service/logger"
)

// accessLog writes one line for each request. It has nothing of the query, the headers and the body, where personal data
// and secrets are.
func accessLog(write func(level logger.Level, format string, args ...any)) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begin := time.Now()
			a := &answerWriter{ResponseWriter: w}
			defer func() {
				level := logger.InfoLevel
				if isProbe(r) {
					level = logger.DebugLevel
				}
				write(level, "request method=%s path=%s status=%d bytes=%d duration_ms=%.3f remote=%s id=%s",
					printable(r.Method, 16), printable(r.URL.EscapedPath(), 200), a.status, a.bytes,
					float64(time.Since(begin).Microseconds())/1000, peer(r), requestID(r.Context()))
			}()
			next.ServeHTTP(a, r)
		})
	}
}

// isProbe tells whether a request is one that only asks whether the API is there.
func isProbe(r *http.Request) bool {
	return (r.URL.Path == "/" || r.URL.Path == "/healthz") && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// printable is a text of the caller's as it can stand in a line: quoted, in ASCII and of at most so many bytes.
func printable(text string, most int) string {
	if len(text) > most {
		return strconv.QuoteToASCII(text[:most]) + "..."
	}
	return strconv.QuoteToASCII(text)
}

// answerWriter remembers what was answered.
type answerWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (a *answerWriter) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answerWriter) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (a *answerWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }
