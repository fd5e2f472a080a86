package edge

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/micro/micro/v3/service/errors"
)

const (
	corsMethods = "GET, HEAD, POST"
	corsHeaders = "Authorization, Content-Type, X-Api-Key, Idempotency-Key"
	corsExposed = "Retry-After, " + requestIDHeader
	// corsMaxAge is how long, in seconds, a browser may remember that it may call.
	corsMaxAge = "600"
)

var varies = []string{"Origin"}

// crossOrigin lets pages of the origins call, and keeps those of all other sites from changing anything: what a browser
// does not ask for beforehand (a form, say) is refused where it is not a mere GET. Callers that are no browsers send no
// Origin and notice nothing.
func crossOrigin(origins []string) (middleware, error) {
	protection := http.NewCrossOriginProtection()
	for _, origin := range origins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("allow an origin: %w", err)
		}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			origin := r.Header.Get("Origin")
			allowed := slices.Contains(origins, origin)
			w.Header()["Vary"] = varies
			if allowed {
				w.Header().Set("Access-Control-Allow-Origin", origin)
				w.Header().Set("Access-Control-Expose-Headers", corsExposed)
			}
			preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
			switch {
			case preflight && allowed:
				w.Header().Set("Access-Control-Allow-Methods", corsMethods)
				w.Header().Set("Access-Control-Allow-Headers", corsHeaders)
				w.Header().Set("Access-Control-Max-Age", corsMaxAge)
				w.WriteHeader(http.StatusNoContent)
			case preflight, protection.Check(r) != nil:
				fail(w, r, errors.Forbidden(id, "Origin: pages of this site may not call"))
			default:
				next.ServeHTTP(w, r)
			}
		})
	}, nil
}
