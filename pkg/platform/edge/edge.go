package edge

import (
	"bytes"
	"context"
	"encoding/json"
	stderrors "errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
)

// id is the id of errors that the edge itself answers with.
const id = "api"

// DefaultMaxBody is the largest body that is read, in bytes, and DefaultTimeout how long a call may take.
const (
	DefaultMaxBody = 4 << 20
	DefaultTimeout = 30 * time.Second
)

// Config is what a Handler needs.
type Config struct {
	Client   client.Client
	Services Finder
	// Version is what GET / answers.
	Version string
	// MaxBody and Timeout are bounds; zero means the default.
	MaxBody int64
	Timeout time.Duration
}

// Handler is the http.Handler of the API.
type Handler struct {
	config Config
	nodes  *nodes
}

// New returns a handler.
func New(config Config) (*Handler, error) {
	if config.Client == nil || config.Services == nil {
		return nil, stderrors.New("edge: a client and a registry are needed")
	}
	if config.MaxBody == 0 {
		config.MaxBody = DefaultMaxBody
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	return &Handler{config: config, nodes: newNodes(config.Services)}, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		body, err := json.Marshal(map[string]string{"version": h.config.Version})
		answer(w, body, err)
		return
	}
	body, err := h.call(w, r)
	answer(w, body, err)
}

// call makes the RPC that r stands for.
func (h *Handler) call(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	to, ok := routeOf(r.URL.EscapedPath())
	if !ok {
		return nil, errors.NotFound(id, "the path names no call: expected /<service>/<Method> or /<service>/<Handler>/<Method>")
	}
	known, err := h.nodes.find(to.service)
	if err != nil {
		logger.Errorf("The registry does not answer: %v", err)
		return nil, unavailable()
	}
	if len(known.addresses) == 0 {
		return nil, errors.NotFound(id, "there is no such service")
	}
	if !known.outside[to.endpoint] {
		return nil, errors.NotFound(id, "there is no such endpoint")
	}
	body, err := h.body(w, r, func(name string) bool { return known.truths[to.endpoint+" "+name] })
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(metadata.NewContext(r.Context(), metadataOf(r)), h.config.Timeout)
	defer cancel()
	request := h.config.Client.NewRequest(to.service, to.endpoint, &body, client.WithContentType("application/json"))
	var response json.RawMessage
	err = h.config.Client.Call(ctx, request, &response,
		client.WithAddress(known.addresses...), client.WithRequestTimeout(h.config.Timeout))
	if err != nil && errors.FromError(err).Id == clientID {
		h.nodes.suspect(to.service)
	}
	return response, err
}

// body returns the request as one JSON object. The parameters of a GET become strings, which services accept for numbers
// too, as protobuf's JSON does; only those that are true or false have to be known.
func (h *Handler) body(w http.ResponseWriter, r *http.Request, isTruth func(name string) bool) (json.RawMessage, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return queryObject(r, isTruth)
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE")
		return nil, errors.MethodNotAllowed(id, "method: expected POST, or GET with parameters")
	}
	mediaType, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, errors.New(id, "Content-Type: expected JSON in UTF-8", http.StatusUnsupportedMediaType)
	}
	switch mediaType {
	case "", "application/json", "application/x-www-form-urlencoded": // the last is what curl says of any body
	default:
		return nil, errors.New(id, "Content-Type: expected application/json", http.StatusUnsupportedMediaType)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.config.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case stderrors.As(err, &tooLarge):
		return nil, errors.New(id, "body: larger than the API takes", http.StatusRequestEntityTooLarge)
	case err != nil:
		return nil, errors.BadRequest(id, "body: it could not be read to its end")
	}
	return objectOf(b)
}

func objectOf(b []byte) (json.RawMessage, error) {
	switch trimmed := bytes.TrimLeft(b, " \t\r\n"); {
	case len(trimmed) == 0:
		return json.RawMessage("{}"), nil
	case !json.Valid(b):
		return nil, errors.BadRequest(id, "body: expected valid JSON")
	case trimmed[0] != '{':
		return nil, errors.BadRequest(id, "body: expected a JSON object")
	}
	return b, nil
}

func queryObject(r *http.Request, isTruth func(name string) bool) (json.RawMessage, error) {
	fields := make(map[string]any)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errors.BadRequest(id, "query: expected name=value pairs in URL encoding")
	}
	for name, values := range query {
		switch {
		case len(values) > 1:
			fields[name] = values
		case isTruth(name) && (values[0] == "true" || values[0] == "false"):
			fields[name] = values[0] == "true"
		default:
			fields[name] = values[0]
		}
	}
	return json.Marshal(fields)
}

// metadataOf is what a service learns of the HTTP request: who calls, from where, and nothing else a caller could forge.
func metadataOf(r *http.Request) metadata.Metadata {
	md := metadata.Metadata{"Micro-Namespace": registry.DefaultDomain, "X-Forwarded-For": r.RemoteAddr}
	if authorization := r.Header.Get("Authorization"); authorization != "" {
		md["Authorization"] = authorization
	}
	return md
}

// answer writes a service's answer or an error.
func answer(w http.ResponseWriter, body []byte, err error) {
	status := http.StatusOK
	if err != nil {
		e := public(err)
		status, body = int(e.Code), []byte(e.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the caller has gone
}

// public is the error as a caller may see it. What services answer is meant for callers; what Micro's client says of a
// call that it could not make tells of addresses and connections.
func public(err error) *errors.Error {
	e := errors.FromError(err)
	switch {
	case e.Code == http.StatusRequestTimeout && e.Id == clientID:
		return errors.FromError(errors.New(id, "the service did not answer in time", http.StatusGatewayTimeout))
	case e.Id == clientID || e.Code < 400 || e.Code > 599:
		logger.Errorf("A call failed on its way: %v", err)
		return errors.FromError(unavailable())
	}
	return e
}

// clientID is the id of the errors of Micro's client.
const clientID = "go.micro.client"

func unavailable() error {
	return errors.New(id, "the service cannot be reached at the moment; try again", http.StatusServiceUnavailable)
}
