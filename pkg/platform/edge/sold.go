package edge

import (
	"context"
	"encoding/json"
	stderrors "errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/gateway"
	"github.com/m3o/backend/pkg/service/direct"
)

// Gateway finds out whether a call with an API key may be made; a *gateway.Gateway does.
type Gateway interface {
	Admit(ctx context.Context, path string, header http.Header) (*gateway.Call, error)
}

// sold answers calls with an API key, of what is sold.
type sold struct {
	calls   *calls
	gateway Gateway
}

// ServeHTTP implements http.Handler.
func (s *sold) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := s.call(w, r)
	if err != nil {
		if refused, ok := stderrors.AsType[*gateway.Refusal](err); ok {
			if refused.RetryAfter > 0 {
				w.Header().Set("Retry-After", seconds(refused.RetryAfter))
			}
			err = refused.Micro
		}
		fail(w, r, err)
		return
	}
	succeed(w, r, body)
}

// seconds is a time as Retry-After has it, so that it is over by then.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// call makes the RPC that r stands for, if the gateway lets it through, and has it counted if the service has answered. An
// answer that could not be counted is not given.
func (s *sold) call(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
	if s.gateway == nil {
		return nil, errors.NotFound(id, "nothing is sold here")
	}
	call, err := s.gateway.Admit(r.Context(), r.URL.EscapedPath(), r.Header)
	if err != nil {
		return nil, err
	}
	defer call.Release() // unless it is counted
	e, err := s.calls.sold(call)
	if err != nil {
		return nil, err
	}
	body, err := s.calls.message(w, r, e)
	if err != nil {
		return nil, err
	}
	md := answerOf(w).metadata()
	md[auth.CustomerKey], md[auth.APIKeyKey] = call.Customer, call.APIKey
	ctx := direct.WithTokenFor(metadata.NewContext(r.Context(), md), call.Token)
	answer, err := s.calls.forward(ctx, route{service: call.Service, endpoint: call.Endpoint}, body)
	if err != nil && auth.IsAboutCaller(errors.FromError(err).Detail) {
		call.Rejected() // it may be the token: this machine's clock may have been set
		logger.Errorf("%s does not let the gateway call %s: %v", call.Service, call.Endpoint, err)
		return nil, unavailable() // the customer was let through
	}
	if status := answered(err); status < http.StatusInternalServerError {
		if uncounted := call.Count(status); uncounted != nil {
			return nil, uncounted
		}
	}
	return answer, err
}

// answered is the status that a service has answered with: of a call that it has not answered, one that says so.
func answered(err error) int {
	if err == nil {
		return http.StatusOK
	}
	e := errors.FromError(err)
	if e.Id == clientID || e.Code < 400 || e.Code > 599 { // which is no answer: see public
		return http.StatusServiceUnavailable
	}
	return int(e.Code)
}

// sold finds the endpoint of a call with an API key.
func (c *calls) sold(call *gateway.Call) (endpoint, error) {
	known, err := c.nodes.find(call.Service)
	if err != nil {
		logger.Errorf("The registry does not answer: %v", err)
		return endpoint{}, unavailable()
	}
	if len(known.addresses) == 0 {
		return endpoint{}, unavailable() // it is in the catalogue, so that it is meant to be there
	}
	e := known.endpoints[call.Endpoint]
	if !e.withKey || e.raw { // the message of the latter is not the caller's to write
		return endpoint{}, errors.NotFound(id, "there is no such endpoint")
	}
	return e, nil
}
