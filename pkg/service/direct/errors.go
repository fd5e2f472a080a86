package direct

import (
	"context"
	stderrors "errors"
	"net/http"
	"time"

	pb "github.com/micro/micro/v3/proto/errors"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// ErrorID is the id of errors that no service has made: of calls that could not be made, or not to their end.
	ErrorID = "go.micro.client"
	// Stopping is the detail of the 503 that a server answers which is about to end, before it looks at a call.
	Stopping = "the service is stopping: try again"
)

func failure(code int32, detail string) error { return errors.New(ErrorID, detail, code) }

func errUnreachable(service string) error {
	return failure(http.StatusServiceUnavailable, "no node of the service "+service+" can be reached: try again")
}

// microError is the error of a call as its caller sees it. A service's own is returned as the service made it.
func microError(ctx context.Context, service, endpoint string, err error) error {
	if e, ok := stderrors.AsType[*errors.Error](err); ok {
		return e
	}
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	if e := ofService(s); e != nil {
		// A service knows its caller's deadline, and may be the first to say that it has passed.
		if e.Code == http.StatusRequestTimeout && isLate(ctx) {
			return ended(ctx)
		}
		return e
	}
	if ctx.Err() != nil { // whatever became of the call because of that
		return ended(ctx)
	}
	switch s.Code() {
	case codes.DeadlineExceeded:
		return failure(http.StatusRequestTimeout, "the call took longer than it was given")
	case codes.Canceled:
		return failure(http.StatusRequestTimeout, "the call was cancelled")
	case codes.ResourceExhausted:
		return failure(http.StatusInternalServerError, "the answer is larger than the 32 MiB that a message may have")
	case codes.Unavailable:
		if notSent(err) {
			return errUnreachable(service)
		}
		return failure(http.StatusServiceUnavailable,
			"the connection to the service "+service+" was lost: the call may have been carried out, or not")
	case codes.Internal:
		// gRPC's own words, which speak of the inside; a service's error would have been one of Micro's.
		logger.Errorf("Call %s %s: %v", service, endpoint, s.Message())
		return failure(http.StatusInternalServerError, "the call failed on its way")
	default:
		return failure(http.StatusInternalServerError, s.Message())
	}
}

// isLate tells whether a deadline has passed, also if the timer that is to say so has not.
func isLate(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// ended is the error of a call whose caller has given up, or has no time left.
func ended(ctx context.Context) error {
	if stderrors.Is(ctx.Err(), context.Canceled) {
		return failure(http.StatusRequestTimeout, "the call was cancelled")
	}
	return failure(http.StatusRequestTimeout, "the call took longer than it was given")
}

// ofService returns the Micro error that a service has answered with; nil if it has not.
func ofService(s *status.Status) *errors.Error {
	for _, d := range s.Details() {
		if e, ok := d.(*pb.Error); ok {
			return &errors.Error{Id: e.Id, Code: e.Code, Detail: e.Detail, Status: e.Status}
		}
	}
	// Micro's server ends some calls with the text of a Micro error.
	if e := errors.Parse(s.Message()); e.Code > 0 {
		return e
	}
	return nil
}

// fate is what is certain about a call that has failed.
type fate int

const (
	// final: it was answered, or was about to be, or is the caller's own fault.
	final fate = iota
	// untouched: no service has worked on it.
	untouched
	// unknown: it was sent and not answered.
	unknown
)

func fateOf(ctx context.Context, err error) fate {
	if ctx.Err() != nil {
		return final
	}
	if notSent(err) {
		return untouched
	}
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.Unavailable {
		return final
	}
	switch e := ofService(s); {
	case e == nil:
		return unknown
	case e.Code == http.StatusServiceUnavailable && e.Detail == Stopping:
		return untouched
	}
	return final
}
