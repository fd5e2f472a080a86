package edge

import (
	"math/rand/v2"
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
		a := &answerWriter{ResponseWriter: w, origin: origin{id: newID(), peer: peer(r)}}
		a.idValue[0] = a.id
		w.Header()[requestIDHeader] = a.idValue[:]
		next.ServeHTTP(a, r)
	})
}

const (
	// idLength letters of five bits each make an id that no other request has.
	idLength = 26
	letters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// newID makes an id. It is no secret, so that it need not be asked of the system, which costs a call of it.
func newID() string {
	var id [idLength]byte
	var bits uint64
	for i := range id {
		if i%12 == 0 { // sixty bits are used up
			bits = rand.Uint64() //nolint:gosec // no secret
		}
		id[i] = letters[bits%32]
		bits /= 32
	}
	return string(id[:])
}
