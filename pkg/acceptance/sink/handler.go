package sink

import (
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
)

const (
	// maxEvents and maxBytes are what Mixpanel takes at once: bytes of JSON before compression.
	maxEvents = 2000
	maxBytes  = 10 << 20
	// defaultLimit and maxLimit are how many events are shown at once.
	defaultLimit = 100
	maxLimit     = 100_000
)

//go:embed page/index.html
var page []byte

// Handler answers over HTTP:
//
//	POST /import                              takes a JSON array of events, which may be compressed with gzip, as Mixpanel does
//	GET  /events?name=&distinct_id=&limit=    {"events": [...]}, the newest first; 100 unless it is told, 100,000 at most
//	GET  /counts                              {"events": 3, "names": {"customers_EventTypeCreated": 3}, "duplicates": 0}
//	GET  /                                    a page that shows both
func (s *Sink) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /import", s.take)
	mux.HandleFunc("GET /events", s.show)
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.Counts()) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'")
		_, _ = w.Write(page) // whoever has asked may have left
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page of another site may have its own name lead here: what it would read is nobody else's.
		if !isLoopback(r.Host) {
			http.Error(w, "ask for 127.0.0.1 or localhost", http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// refused is why Mixpanel does not take one event of a batch.
type refused struct {
	Index    int    `json:"index"`
	InsertID string `json:"insert_id"`
	Field    string `json:"field"`
	Message  string `json:"message"`
}

// result is what Mixpanel answers.
type result struct {
	Code     int       `json:"code"`
	Status   string    `json:"status,omitempty"`
	Error    string    `json:"error,omitempty"`
	Imported int       `json:"num_records_imported"`
	Failed   []refused `json:"failed_records,omitempty"`
}

func (s *Sink) take(w http.ResponseWriter, r *http.Request) {
	if user, _, ok := r.BasicAuth(); !ok || user == "" {
		answer(w, http.StatusUnauthorized, result{Code: http.StatusUnauthorized, Error: "Invalid credentials"})
		return
	}
	events, code, err := read(r)
	if err != nil {
		answer(w, code, result{Code: code, Error: err.Error()})
		return
	}
	good := make([]Event, 0, len(events))
	var failed []refused
	for i, e := range events {
		if field, message := check(e); field != "" {
			failed = append(failed, refused{Index: i, InsertID: text(e.Properties, "$insert_id"), Field: field, Message: message})
			continue
		}
		good = append(good, e)
	}
	if _, err := s.Add(good); err != nil {
		answer(w, http.StatusInternalServerError, result{Code: http.StatusInternalServerError, Error: "it could not be kept"})
		return
	}
	if len(failed) > 0 {
		answer(w, http.StatusBadRequest, result{
			Code: http.StatusBadRequest, Status: "Bad Request", Error: "some data points in the request failed validation",
			Imported: len(good), Failed: failed,
		})
		return
	}
	answer(w, http.StatusOK, result{Code: http.StatusOK, Status: "OK", Imported: len(good)})
}

// read reads a batch, or says with which code it is refused as a whole.
func read(r *http.Request) (events []Event, code int, err error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, http.StatusBadRequest, errors.New("the body is not gzip")
		}
		body = unzipped
	}
	b, err := io.ReadAll(io.LimitReader(body, maxBytes+1))
	if err != nil {
		return nil, http.StatusBadRequest, errors.New("the body cannot be read")
	}
	if len(b) > maxBytes {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than %d bytes", maxBytes)
	}
	if err := json.Unmarshal(b, &events); err != nil {
		return nil, http.StatusBadRequest, errors.New("the body is no JSON array of events")
	}
	if len(events) > maxEvents {
		return nil, http.StatusBadRequest, fmt.Errorf("the body has more than %d events", maxEvents)
	}
	return events, 0, nil
}

var validInsertID = regexp.MustCompile(`^[A-Za-z0-9-]{1,36}$`)

// firstTime is the first that Mixpanel takes: 1971-01-01, in seconds.
const firstTime = 31_536_000

// check returns what is wrong with an event.
func check(e Event) (field, message string) {
	if e.Name == "" || len(e.Name) > 255 {
		return "event", "'event' is missing or too long"
	}
	if !validInsertID.MatchString(text(e.Properties, "$insert_id")) {
		return "properties.$insert_id", "'properties.$insert_id' is invalid: must be 1 to 36 letters, digits and hyphens"
	}
	if _, ok := e.Properties["distinct_id"].(string); !ok {
		return "properties.distinct_id", "'properties.distinct_id' is missing"
	}
	if t, ok := e.Properties["time"].(float64); !ok || t < firstTime {
		return "properties.time", "'properties.time' is invalid: must be specified as seconds or milliseconds since epoch"
	}
	if len(e.Properties) > 255 {
		return "properties", "'properties' has more than 255 keys"
	}
	return "", ""
}

func (s *Sink) show(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := defaultLimit
	if given := q.Get("limit"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil || n < 1 || n > maxLimit {
			http.Error(w, fmt.Sprintf("limit: expected a number from 1 to %d", maxLimit), http.StatusBadRequest)
			return
		}
		limit = n
	}
	events, err := s.Events(Query{Name: q.Get("name"), DistinctID: q.Get("distinct_id"), Limit: limit})
	if err != nil {
		http.Error(w, "the events cannot be read", http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusOK, map[string]any{"events": events})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // whoever has asked may have left
}
