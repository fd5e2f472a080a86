package edge

import (
	"crypto/rand"
	"net/http"
)

// requestIDHeader is where the id of a request is, in the answer and in what the service learns. One from outside counts
// for nothing: its caller could make two requests look like one.
const requestIDHeader = "X-Request-Id"

// origin is which request it is, and where it came from.
type origin struct{ id, peer string }

// withRequestID gives each request an id of its own. It comes first: the writer that it hands on is the one for all that
// follows, and knows the origin. In the request's context that would cost a copy of the request.
func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answerWriter{ResponseWriter: w, origin: origin{id: rand.Text(), peer: peer(r)}}
		a.idValue[0] = a.id
		w.Header()[requestIDHeader] = a.idValue[:]
		next.ServeHTTP(a, r)
	})
}
