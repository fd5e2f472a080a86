package edge

import (
	"context"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
)

// Config is what a handler needs.
type Config struct {
	Client   client.Client
	Services Finder
	// Gateway lets calls with an API key through; without one there are none.
	Gateway Gateway
	// Version is what GET / answers.
	Version  string
	Settings Settings
	// Log writes one line; Micro's logger where it is nil, which keeps those of the access log for a moment if it can.
	Log func(level logger.Level, format string, args ...any)
}

// middleware puts something in front of a handler.
type middleware func(next http.Handler) http.Handler

// New returns the handler of the API. It fails when something is missing or the settings are wrong.
func New(config Config) (http.Handler, error) {
	if config.Client == nil || config.Services == nil {
		return nil, stderrors.New("edge: a client and a registry are needed")
	}
	if err := config.Settings.Validate(); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	access := func(level logger.Level, line string) { writeOften(logger.DefaultLogger, level, line) }
	if log := config.Log; log != nil {
		access = func(level logger.Level, line string) { log(level, "%s", line) }
	} else {
		config.Log = func(level logger.Level, format string, args ...any) {
			logger.DefaultLogger.Logf(level, format, args...)
		}
	}
	origins, err := crossOrigin(config.Settings.CORS.Origins)
	if err != nil {
		return nil, err
	}
	root, err := newRoot(config.Version)
	if err != nil {
		return nil, err
	}
	calls := &calls{config: config, nodes: newNodes(config.Services)}
	// In the order in which a request meets them.
	return chain(router(root, &sold{calls: calls, gateway: config.Gateway}, calls),
		withRequestID,
		accessLog(access),
		secured,
		recovered(config.Log),
		bounded,
		knownHosts(config.Settings.Hosts),
		origins,
	), nil
}

// chain puts middlewares in front of a handler, the first one outermost.
func chain(h http.Handler, all ...middleware) http.Handler {
	for _, m := range slices.Backward(all) {
		h = m(h)
	}
	return h
}

// router chooses who answers. It is no http.ServeMux because that answers in plain text and redirects.
func router(root, sold, calls http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isProbe(r):
			root.ServeHTTP(w, r)
		case isWithKey(r.URL.EscapedPath()):
			sold.ServeHTTP(w, r)
		default:
			calls.ServeHTTP(w, r)
		}
	})
}

// newRoot answers probes: the API is there, and of this version.
func newRoot(version string) (http.Handler, error) {
	body, err := json.Marshal(map[string]string{"version": version})
	if err != nil {
		return nil, fmt.Errorf("edge: encode the version: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { succeed(w, r, body) }), nil
}

// calls turns requests into RPCs.
type calls struct {
	config Config
	nodes  *nodes
}

// ServeHTTP implements http.Handler.
func (c *calls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, known, err := c.find(r)
	if err == nil && known.endpoints[to.endpoint].raw {
		c.serveRaw(w, r, to, known.endpoints[to.endpoint])
		return
	}
	var body json.RawMessage
	if err == nil {
		body, err = c.call(w, r, to, known)
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	succeed(w, r, body)
}

var asJSON = client.WithContentType("application/json")

// call makes the RPC that r stands for.
func (c *calls) call(w http.ResponseWriter, r *http.Request, to route, known entry) (json.RawMessage, error) {
	md, err := metadataOf(answerOf(w).origin, r)
	if err != nil {
		return nil, err
	}
	body, err := c.message(w, r, known.endpoints[to.endpoint])
	if err != nil {
		return nil, err
	}
	return c.forward(metadata.NewContext(r.Context(), md), to, body)
}

// forward makes an RPC, and returns its answer.
func (c *calls) forward(ctx context.Context, to route, body json.RawMessage) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Settings.timeout())
	defer cancel()
	request := c.config.Client.NewRequest(to.service, to.endpoint, &body, asJSON)
	var response json.RawMessage
	err := c.config.Client.Call(ctx, request, &response) // for as long as ctx lasts
	if err != nil && errors.FromError(err).Id == clientID {
		c.nodes.suspect(to.service)
	}
	return response, err
}

// find finds the endpoint that r is for, if it is reachable from outside.
func (c *calls) find(r *http.Request) (route, entry, error) {
	to, ok := routeOf(r.URL.EscapedPath())
	if !ok {
		return route{}, entry{}, errors.NotFound(id, "the path names no call: expected /<service>/<Method> or /<service>/<Handler>/<Method>")
	}
	known, err := c.nodes.find(to.service)
	switch {
	case err != nil:
		logger.Errorf("The registry does not answer: %v", err)
		return route{}, entry{}, unavailable()
	case len(known.addresses) == 0:
		return route{}, entry{}, errors.NotFound(id, "there is no such service")
	case !known.endpoints[to.endpoint].outside:
		return route{}, entry{}, errors.NotFound(id, "there is no such endpoint")
	}
	return to, known, nil
}

// message is what r sends to the endpoint. GET is for endpoints that change nothing: links and prefetches must not.
func (c *calls) message(w http.ResponseWriter, r *http.Request, e endpoint) (json.RawMessage, error) {
	isGet := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.Method == http.MethodPost:
		return bodyOf(w, r, c.config.Settings.MaxBodyBytes)
	case isGet && e.safe:
		return queryOf(r, e.truths)
	case e.safe:
		w.Header().Set("Allow", "GET, HEAD, POST")
		return nil, errors.MethodNotAllowed(id, "method: expected POST, or GET with parameters")
	default:
		w.Header().Set("Allow", http.MethodPost)
		return nil, errors.MethodNotAllowed(id, "method: expected POST")
	}
}
