package edge

import "net/http"

// What is the same in every answer. A header that is written like this costs no memory; nobody changes one in place.
var (
	nosniff    = []string{"nosniff"}
	noStore    = []string{"no-store"}
	security   = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferrer = []string{"no-referrer"}
)

// secured tells browsers to do nothing with an answer but to hand it to the page that asked, and nobody to keep it.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"] = nosniff
		h["Cache-Control"] = noStore
		h["Content-Security-Policy"] = security
		h["Referrer-Policy"] = noReferrer
		next.ServeHTTP(w, r)
	})
}
