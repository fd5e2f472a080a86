package edge

import (
	"encoding/json"
	stderrors "errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/registry"
)

// bodyOf reads the body of a POST, which is one JSON object.
func bodyOf(w http.ResponseWriter, r *http.Request, most int64) (json.RawMessage, error) {
	if err := expectJSON(r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	b, err := wholeBody(w, r, most)
	if err != nil {
		return nil, err
	}
	return objectOf(b)
}

// wholeBody reads a body as it is.
func wholeBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	b, err := readAll(w, r, most)
	if err == nil {
		return b, nil
	}
	// The rest of the body is not waited for, so no other request can follow on this connection.
	w.Header().Set("Connection", "close")
	var tooLarge *http.MaxBytesError
	switch {
	case stderrors.As(err, &tooLarge):
		return nil, errors.New(id, "body: larger than the API takes", http.StatusRequestEntityTooLarge)
	case stderrors.Is(err, os.ErrDeadlineExceeded):
		return nil, errors.New(id, "body: it did not arrive in time", http.StatusRequestTimeout)
	default:
		return nil, errors.BadRequest(id, "body: it could not be read to its end")
	}
}

// expectJSON refuses a content type that is none of JSON's.
func expectJSON(contentType string) error {
	if contentType == "application/json" { // as almost everybody says it
		return nil
	}
	mediaType, parameters, _ := mime.ParseMediaType(contentType)
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return errors.New(id, "Content-Type: expected JSON in UTF-8", http.StatusUnsupportedMediaType)
	}
	switch mediaType {
	case "", "application/json", "application/x-www-form-urlencoded": // the last is what curl says of any body
		return nil
	default:
		return errors.New(id, "Content-Type: expected application/json", http.StatusUnsupportedMediaType)
	}
}

// roomAtOnce is how much memory a body is given because its caller says that it is so long. More of it gets more when it comes.
const roomAtOnce = 4 << 10

// readAll reads the body of a request, which may have at most most bytes.
func readAll(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > min(most, roomAtOnce) {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	}
	b := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, b)
	return b, err
}

func objectOf(b []byte) (json.RawMessage, error) {
	first := 0
	for first < len(b) && (b[first] == ' ' || b[first] == '\t' || b[first] == '\r' || b[first] == '\n') {
		first++
	}
	switch {
	case first == len(b):
		return json.RawMessage("{}"), nil
	case !json.Valid(b):
		return nil, errors.BadRequest(id, "body: expected valid JSON")
	case b[first] != '{':
		return nil, errors.BadRequest(id, "body: expected a JSON object")
	}
	return b, nil
}

// queryOf makes an object of the parameters of a GET. They become strings, which services accept for numbers too, as
// protobuf's JSON does; only those that are true or false have to be known.
func queryOf(r *http.Request, truths map[string]bool) (json.RawMessage, error) {
	fields := make(map[string]any)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errors.BadRequest(id, "query: expected name=value pairs in URL encoding")
	}
	for name, values := range query {
		switch {
		case len(values) > 1:
			fields[name] = values
		case truths[name] && (values[0] == "true" || values[0] == "false"):
			fields[name] = values[0] == "true"
		default:
			fields[name] = values[0]
		}
	}
	return json.Marshal(fields)
}

// metadataOf is what a service learns of the HTTP request: who calls, from where, and nothing else a caller could forge. Its
// keys are written as they go out.
func metadataOf(from origin, r *http.Request) (metadata.Metadata, error) {
	md := from.metadata()
	switch authorization := r.Header["Authorization"]; len(authorization) {
	case 0:
	case 1:
		md["authorization"] = authorization[0]
	default:
		// Whoever looks at a request before the API might have looked at another one of them.
		return nil, errors.BadRequest(id, "Authorization: expected it once")
	}
	return md, nil
}

// metadata is what every service learns of an HTTP request.
func (from origin) metadata() metadata.Metadata {
	return metadata.Metadata{
		"micro-namespace": registry.DefaultDomain,
		"x-forwarded-for": from.peer,
		"x-request-id":    from.id,
	}
}

// peer is the IP address that the request came from, without a port; empty where that is not known.
func peer(r *http.Request) string {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}
