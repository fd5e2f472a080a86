package edge

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
)

// recovered answers 500 where a handler panics, and logs why. An answer that has begun is broken off instead, so that
// nobody takes a part for the whole.
func recovered(write func(level logger.Level, format string, args ...any)) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := answerOf(w)
			defer func() {
				cause := recover()
				if cause == nil {
					return
				}
				write(logger.ErrorLevel, "request id=%s: %s\n%s", a.id, describePanic(cause), debug.Stack())
				if a.status != 0 {
					panic(http.ErrAbortHandler)
				}
				fail(w, r, errors.InternalServerError(id, "internal error, request %s", a.id))
			}()
			next.ServeHTTP(a, r)
		})
	}
}

// describePanic says what a panic was about. Only the runtime's own words are known not to contain what a caller sent.
func describePanic(cause any) string {
	if err, ok := cause.(runtime.Error); ok {
		return "panic: " + err.Error()
	}
	return fmt.Sprintf("panic with a value of type %T", cause)
}
