package edge

import (
	"context"
	"crypto/rand"
	"net/http"
)

// requestIDHeader is where the id of a request is, in the answer and in what the service learns. One from outside counts
// for nothing: its caller could make two requests look like one.
const requestIDHeader = "X-Request-Id"

type originKey struct{}

// origin is which request it is, and where it came from.
type origin struct{ id, peer string }

func originOf(ctx context.Context) origin {
	if o, ok := ctx.Value(originKey{}).(*origin); ok {
		return *o
	}
	return origin{}
}

func requestID(ctx context.Context) string { return originOf(ctx).id }

// withRequestID gives each request an id of its own.
func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := rand.Text()
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), originKey{}, &origin{id: id, peer: peer(r)})))
	})
}
