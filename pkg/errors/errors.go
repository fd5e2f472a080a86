// Package errors is how the core of a domain says what went wrong without knowing of RPC: an error has a kind, the
// field that it is about, and a sentence. pkg/service turns kinds into the codes of Micro errors.
//
// An error of this package is written for the caller, who is shown it word for word. So it never contains what the
// caller sent, nor anything of the inside; both belong into the cause, which is logged and not shown, and the cause of a
// refused call must not contain personal data either.
package errors

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what the caller can do about an error. Its value is the code of the Micro error and of the HTTP answer.
type Kind int32

// The kinds that a core may answer with. Whatever is none of them is an internal error, code 500, which is logged with
// its cause and shown without it.
const (
	KindInvalid         Kind = 400 // the request is wrong, and will be however often it is sent
	KindUnauthenticated Kind = 401 // it is not known who is calling
	KindPaymentRequired Kind = 402 // the balance does not cover the call, or a card was declined
	KindForbidden       Kind = 403 // the caller is known and may not do this
	KindNotFound        Kind = 404 // what the request names does not exist
	KindConflict        Kind = 409 // the request does not fit the present state; reading it again may help
	KindTooMany         Kind = 429 // the caller has to slow down; the same call may succeed later
	KindInternal        Kind = 500 // it is not the caller's fault
	KindUnavailable     Kind = 503 // something that the call needs is away or full; the same call may succeed later
)

// Error is what a core answers instead of a result.
type Error struct {
	// Kind decides the code.
	Kind Kind
	// Field is the path of the request's field that is wrong, in the proto's names, as in "customer.meta". Empty when
	// the error is about no field.
	Field string
	// Detail is a sentence for the caller, without the field's name.
	Detail string
	// Cause is for the log. It is never shown to a caller, and may be nil.
	Cause error
}

// Error returns what the caller is shown: the field, a colon and the detail; or the detail alone. The cause is not in it.
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Detail
	}
	return e.Field + ": " + e.Detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// WithCause returns a copy of e that carries a cause for the log.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// Invalid says that a field of the request is wrong (400). The format should say what was expected, as in
// Invalid("page_size", "must be from 1 to %d", max), and must not contain what was sent.
func Invalid(field, format string, args ...any) *Error {
	return build(KindInvalid, field, format, args)
}

// NotFound says that what a field names does not exist (404).
func NotFound(field, format string, args ...any) *Error {
	return build(KindNotFound, field, format, args)
}

// Conflict says that the request does not fit the present state (409), and in its detail what the caller can do.
func Conflict(field, format string, args ...any) *Error {
	return build(KindConflict, field, format, args)
}

// Unauthenticated says that it is not known who is calling (401).
func Unauthenticated(format string, args ...any) *Error {
	return build(KindUnauthenticated, "", format, args)
}

// Forbidden says that the caller may not do this (403).
func Forbidden(format string, args ...any) *Error {
	return build(KindForbidden, "", format, args)
}

// PaymentRequired says that the balance does not cover the call, or that a card was declined (402).
func PaymentRequired(format string, args ...any) *Error {
	return build(KindPaymentRequired, "", format, args)
}

// TooMany says that the caller has to slow down (429), and in its detail for how long.
func TooMany(format string, args ...any) *Error {
	return build(KindTooMany, "", format, args)
}

// Unavailable says that something that the call needs is away or full for a while (503). Nothing was changed, unless the
// detail says so.
func Unavailable(format string, args ...any) *Error {
	return build(KindUnavailable, "", format, args)
}

func build(kind Kind, field, format string, args []any) *Error {
	return &Error{Kind: kind, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first Error in err's chain; KindInternal when there is none, and 0 when err is nil.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Permanent says whether the same attempt would fail again however often it is made, which is what a consumer of events
// asks before it tries again. Refusals are permanent, except for TooMany and Unavailable; whatever is not known to be permanent is
// not, so that a passing fault never loses anything.
func Permanent(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch KindOf(err) {
	case KindInternal, KindTooMany, KindUnavailable:
		return false
	default:
		return true
	}
}

// Within returns err with its field below a parent: what a core says of "name" is "customer.name" to whoever sent it as
// part of a message. Other errors are returned as they are.
func Within(parent string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Field == "" {
		return err
	}
	c := *e
	c.Field = parent + "." + e.Field
	return &c
}
