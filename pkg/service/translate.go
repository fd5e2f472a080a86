package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	stderrors "errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"

	pberrors "github.com/micro/micro/v3/proto/errors"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/server"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/telemetry"
)

// internal is how the detail of an error begins whose cause is in a log.
const internal = "internal error, reference "

// translateErrors turns what a handler returns into a Micro error whose id is the endpoint. It is the innermost wrapper,
// so that Micro's own, which keep and log errors, see no other.
func translateErrors(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = hide(ctx, req.Service()+"."+req.Endpoint(), 500, fmt.Sprintf("%s\n%s", describePanic(r), debug.Stack()))
			}
		}()
		if err := next(ctx, req, rsp); err != nil {
			return translate(ctx, req.Service()+"."+req.Endpoint(), err)
		}
		return nil
	}
}

// describePanic says what a panic was about. Only the runtime's own words are known not to contain what a caller sent.
func describePanic(r any) string {
	if err, ok := r.(runtime.Error); ok {
		return "panic: " + err.Error()
	}
	return fmt.Sprintf("panic with a value of type %T", r)
}

// translate returns err as a Micro error that may be shown to the caller.
func translate(ctx context.Context, endpoint string, err error) *microerrors.Error {
	// First, as the error of another service may be its cause, which nobody is shown.
	if e, ok := stderrors.AsType[*errors.Error](err); ok && e.Kind != errors.KindInternal {
		if e.Kind == errors.KindUnavailable && e.Cause != nil {
			logCause(ctx, "", e.Cause.Error()) // which an operator has to mend, and not the caller
		}
		return newError(endpoint, int32(e.Kind), e.Error())
	}
	if e, ok := stderrors.AsType[*microerrors.Error](err); ok {
		return checked(ctx, endpoint, e)
	}
	if s, ok := status.FromError(err); ok {
		return fromStatus(ctx, endpoint, s)
	}
	switch {
	case stderrors.Is(err, context.Canceled) && ctx.Err() != nil:
		return newError(endpoint, http.StatusRequestTimeout, "the caller went away")
	case stderrors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return newError(endpoint, http.StatusRequestTimeout, "the call took longer than its caller wanted to wait")
	case stderrors.Is(err, context.DeadlineExceeded):
		logCause(ctx, "", err.Error())
		return newError(endpoint, http.StatusGatewayTimeout, "something that the call needs took too long: try again")
	}
	return hide(ctx, endpoint, http.StatusInternalServerError, err.Error())
}

// fromStatus translates a gRPC error, which is either a Micro error on its way or comes from gRPC itself.
func fromStatus(ctx context.Context, endpoint string, s *status.Status) *microerrors.Error {
	for _, d := range s.Details() {
		if e, ok := d.(*pberrors.Error); ok {
			return checked(ctx, endpoint, &microerrors.Error{Id: e.Id, Code: e.Code, Detail: e.Detail, Status: e.Status})
		}
	}
	switch s.Code() {
	case codes.Canceled:
		return newError(endpoint, http.StatusRequestTimeout, "the caller went away")
	case codes.DeadlineExceeded:
		return newError(endpoint, http.StatusRequestTimeout, "the call took longer than its caller wanted to wait")
	case codes.ResourceExhausted:
		return newError(endpoint, http.StatusRequestEntityTooLarge, "body: too large")
	default:
		// Micro's server ends a call with a bare Micro error when a handler panics outside our wrapper, which is JSON.
		return hide(ctx, endpoint, http.StatusInternalServerError, s.Message())
	}
}

// checked returns a Micro error as it is when it was made for a caller. Others speak of the inside: of addresses that
// could not be reached, of services that are away.
func checked(ctx context.Context, endpoint string, e *microerrors.Error) *microerrors.Error {
	c := *e
	if c.Id == "" {
		c.Id = endpoint
	}
	if c.Status == "" {
		c.Status = http.StatusText(int(c.Code))
	}
	switch {
	case c.Code >= 400 && c.Code < 500:
		return &c
	case strings.HasPrefix(c.Detail, internal):
		if c.Id != endpoint {
			logCause(ctx, strings.TrimPrefix(c.Detail, internal), "the log of "+c.Id+" has it")
		}
		return &c
	case c.Id == endpoint && c.Code > 500 && c.Code < 600:
		return &c // ours: it says that trying again may help
	case c.Code > 500 && c.Code < 600:
		return hide(ctx, endpoint, c.Code, e.Error())
	default:
		return hide(ctx, endpoint, http.StatusInternalServerError, e.Error())
	}
}

// hide keeps the cause of an error for the call's line in the log and returns what the caller is told instead.
func hide(ctx context.Context, endpoint string, code int32, cause string) *microerrors.Error {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails
	reference := hex.EncodeToString(b)
	logCause(ctx, reference, cause)
	return newError(endpoint, code, internal+reference)
}

// logCause keeps why a call fails for its line in the log. Without a call there is no line, and nobody who is answered.
func logCause(ctx context.Context, reference, cause string) {
	if call := telemetry.CallFrom(ctx); call != nil {
		call.Fail(reference, cause)
	}
}

func newError(id string, code int32, detail string) *microerrors.Error {
	return &microerrors.Error{Id: id, Code: code, Detail: detail, Status: http.StatusText(int(code))}
}

// answer makes a gRPC error of e, in the form that Micro's clients turn back into a Micro error.
func answer(e *microerrors.Error) error {
	s, derr := status.New(grpcCode(e.Code), e.Error()).WithDetails(&pberrors.Error{
		Id: e.Id, Code: e.Code, Detail: e.Detail, Status: e.Status,
	})
	if derr != nil {
		return status.New(codes.Internal, e.Error()).Err() // clients read the JSON in the message as well
	}
	return s.Err()
}

// grpcCode is the gRPC code of a Micro error, for callers that only know gRPC.
func grpcCode(code int32) codes.Code {
	switch code {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusConflict:
		return codes.AlreadyExists
	case http.StatusPaymentRequired, http.StatusPreconditionFailed:
		return codes.FailedPrecondition
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusNotImplemented:
		return codes.Unimplemented
	default:
		return codes.Internal
	}
}
