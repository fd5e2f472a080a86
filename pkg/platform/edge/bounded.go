package edge

import (
	"net/http"

	"github.com/micro/micro/v3/service/errors"
)

const (
	// maxURI and maxHeader bound what comes before the body, in bytes.
	maxURI    = 8 << 10
	maxHeader = 32 << 10
)

// bounded refuses requests whose URI or header is too large.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := 0
		for name, values := range r.Header {
			for _, value := range values {
				size += len(name) + len(value) + len(": \r\n")
			}
		}
		switch {
		case len(r.RequestURI) > maxURI:
			fail(w, r, errors.New(id, "the URI is longer than the API takes", http.StatusRequestURITooLong))
		case size > maxHeader:
			fail(w, r, errors.New(id, "the header is larger than the API takes", http.StatusRequestHeaderFieldsTooLarge))
		default:
			next.ServeHTTP(w, r)
		}
	})
}
