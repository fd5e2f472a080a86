package edge

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/micro/micro/v3/proto/api"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"golang.org/x/net/http/httpguts"
)

// An endpoint that takes Micro's api.Request gets the request as it came, and answers with status, header and body of its
// own: it is for callers who do not speak our way, such as webhooks, which sign the bytes of their body. What holds for
// every request (its size, its host, who may be behind it) holds for these too.

// hops are the header fields that are about one connection, and are not passed on in either direction.
var hops = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// ours are the fields of a request that the edge itself says or that are secrets of the caller's, who would not tell them
// a service that is sold, and of an answer that it has said before.
var ours = []string{"Authorization", "X-Api-Key", "Cookie", "X-Forwarded-For", "X-Request-Id", "Content-Length", "Set-Cookie"}

// forBrowsers are fields of an answer, beside those of security, that tell a browser what it may do with this host.
var forBrowsers = []string{"Vary", "Clear-Site-Data", "Alt-Svc", "Strict-Transport-Security"}

// serveRaw has an endpoint answer r itself.
func (c *calls) serveRaw(w http.ResponseWriter, r *http.Request, to route, e endpoint) {
	request, err := c.rawRequest(w, r, e)
	if err != nil {
		fail(w, r, err)
		return
	}
	response, err := c.callRaw(answerOf(w).origin, r, to, request)
	if err != nil {
		fail(w, r, err)
		return
	}
	writeRaw(w, r, response)
}

func (c *calls) callRaw(from origin, r *http.Request, to route, request *api.Request) (*api.Response, error) {
	md, err := metadataOf(from, r)
	if err != nil {
		return nil, err
	}
	timeout := c.config.Settings.timeout()
	ctx, cancel := context.WithTimeout(metadata.NewContext(r.Context(), md), timeout)
	defer cancel()
	response := new(api.Response)
	err = c.config.Client.Call(ctx, c.config.Client.NewRequest(to.service, to.endpoint, request), response,
		client.WithRequestTimeout(timeout))
	if err != nil && errors.FromError(err).Id == clientID {
		c.nodes.suspect(to.service)
	}
	return response, err
}

// rawRequest is r as a message.
func (c *calls) rawRequest(w http.ResponseWriter, r *http.Request, e endpoint) (*api.Request, error) {
	request := &api.Request{
		Method: r.Method, Path: r.URL.Path, Url: r.URL.RequestURI(), Header: pairs(headerOf(answerOf(w).origin, r)),
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errors.BadRequest(id, "query: expected name=value pairs in URL encoding")
	}
	request.Get = pairs(query)
	switch {
	case r.Method == http.MethodPost:
		body, err := wholeBody(w, r, c.config.Settings.MaxBodyBytes)
		if err != nil {
			return nil, err
		}
		request.Body = string(body)
	case e.safe && (r.Method == http.MethodGet || r.Method == http.MethodHead):
	default:
		allowed := http.MethodPost
		if e.safe {
			allowed = "GET, HEAD, POST"
		}
		w.Header().Set("Allow", allowed)
		return nil, errors.MethodNotAllowed(id, "method: expected one of %s", allowed)
	}
	// A message has texts, which are UTF-8, and what is none cannot be passed on unchanged.
	switch {
	case !utf8.ValidString(request.Body):
		return nil, errors.BadRequest(id, "body: expected UTF-8")
	case !valid(request.Header):
		return nil, errors.BadRequest(id, "header: expected UTF-8")
	case !valid(request.Get) || !utf8.ValidString(request.Path) || !utf8.ValidString(request.Url):
		return nil, errors.BadRequest(id, "path and query: expected UTF-8")
	}
	return request, nil
}

// headerOf is the header of r without what is about its connection, and with what the edge says itself.
func headerOf(from origin, r *http.Request) http.Header {
	header := r.Header.Clone()
	drop(header)
	header.Set("X-Forwarded-For", from.peer)
	header.Set("X-Request-Id", from.id)
	return header
}

// drop takes from a header what is about a connection, or the edge's to say.
func drop(header http.Header) {
	for _, named := range header["Connection"] {
		for field := range strings.SplitSeq(named, ",") {
			header.Del(textproto.TrimString(field))
		}
	}
	for _, field := range slices.Concat(hops, ours) {
		header.Del(field)
	}
}

func pairs(values map[string][]string) map[string]*api.Pair {
	all := make(map[string]*api.Pair, len(values))
	for key, v := range values {
		all[key] = &api.Pair{Key: key, Values: v}
	}
	return all
}

func valid(all map[string]*api.Pair) bool {
	for key, pair := range all {
		if !utf8.ValidString(key) || slices.ContainsFunc(pair.Values, func(s string) bool { return !utf8.ValidString(s) }) {
			return false
		}
	}
	return true
}

// writeRaw writes what an endpoint has answered. It can say neither how long a connection lasts nor what a browser may do
// with the answer: that is the edge's.
func writeRaw(w http.ResponseWriter, r *http.Request, response *api.Response) {
	status := int(response.StatusCode)
	if status == 0 {
		status = http.StatusOK
	}
	if status < 200 || status > 599 {
		logger.Errorf("An endpoint has answered with the status %d, which is none", status)
		fail(w, r, errors.New(id, "the service has answered with something that is no answer", http.StatusBadGateway))
		return
	}
	header := make(http.Header, len(response.Header))
	for key, pair := range response.Header {
		name := textproto.CanonicalMIMEHeaderKey(key)
		if !isForBrowsers(name) && httpguts.ValidHeaderFieldName(name) && !slices.ContainsFunc(pair.GetValues(), isNoValue) {
			header[name] = append(header[name], pair.GetValues()...)
		}
	}
	drop(header)
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	for name, values := range header {
		w.Header()[name] = values
	}
	hasBody := status != http.StatusNoContent && status != http.StatusNotModified
	if hasBody {
		w.Header().Set("Content-Length", strconv.Itoa(len(response.Body)))
	}
	w.WriteHeader(status)
	if hasBody && r.Method != http.MethodHead {
		_, _ = w.Write([]byte(response.Body)) //nolint:gosec // browsers are told to do nothing with it; an error means that the caller has gone
	}
}

// isNoValue tells whether a text cannot be the value of a header field.
func isNoValue(s string) bool { return !httpguts.ValidHeaderFieldValue(s) }

// isForBrowsers tells whether a field tells a browser what it may do, which is not for an endpoint to say.
func isForBrowsers(name string) bool {
	return isSecurity(name) || strings.HasPrefix(name, "Access-Control-") || slices.Contains(forBrowsers, name)
}
