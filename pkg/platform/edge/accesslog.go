package edge

import (
	"net/http"
	"strconv"
	"time"

	"github.com/micro/micro/v3/service/logger"
)

// accessLog writes one line for each request. It has nothing of the query, the headers and the body, where personal data
// and secrets are.
func accessLog(write func(level logger.Level, line string)) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begin := time.Now()
			a := answerOf(w)
			defer func() {
				level := logger.InfoLevel
				if isProbe(r) {
					level = logger.DebugLevel
				}
				write(level, a.line(r, time.Since(begin)))
			}()
			next.ServeHTTP(a, r)
		})
	}
}

// line is what is logged of a request.
func (a *answerWriter) line(r *http.Request, took time.Duration) string {
	var room [512]byte
	b := append(room[:0], "request method="...)
	b = appendPrintable(b, r.Method, 16)
	b = appendPrintable(append(b, " path="...), r.URL.EscapedPath(), 200)
	b = strconv.AppendInt(append(b, " status="...), int64(a.status), 10)
	b = strconv.AppendInt(append(b, " bytes="...), a.bytes, 10)
	b = strconv.AppendFloat(append(b, " duration_ms="...), float64(took.Microseconds())/1000, 'f', 3, 64)
	b = append(append(b, " remote="...), a.peer...)
	b = append(append(b, " id="...), a.id...)
	return string(b)
}

// isProbe tells whether a request is one that only asks whether the API is there.
func isProbe(r *http.Request) bool {
	return (r.URL.Path == "/" || r.URL.Path == "/healthz") && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// appendPrintable adds a text of the caller's as it can stand in a line: quoted, in ASCII and of at most so many bytes.
func appendPrintable(b []byte, text string, most int) []byte {
	if len(text) > most {
		return append(strconv.AppendQuoteToASCII(b, text[:most]), "..."...)
	}
	return strconv.AppendQuoteToASCII(b, text)
}

// often is a logger that can keep a line for a moment to write many at once, as that of package telemetry does.
type often interface {
	Often(level logger.Level, line string)
	Flush()
}

// writeOften writes a line to a logger, in the way that costs it least.
func writeOften(to logger.Logger, level logger.Level, line string) {
	if l, ok := to.(often); ok {
		l.Often(level, line)
	} else {
		to.Log(level, line)
	}
}

// flushLog has a logger write what it has kept.
func flushLog(l logger.Logger) {
	if l, ok := l.(often); ok {
		l.Flush()
	}
}

// answerWriter remembers what was answered, and to what.
type answerWriter struct {
	http.ResponseWriter
	origin
	status int
	bytes  int64
	// idValue is the value of the header with the id.
	idValue [1]string
}

// answerOf returns the writer that withRequestID has made, a new one if there is none.
func answerOf(w http.ResponseWriter) *answerWriter {
	if a, ok := w.(*answerWriter); ok {
		return a
	}
	return &answerWriter{ResponseWriter: w}
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
