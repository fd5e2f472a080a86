package gateway

import (
	"net/http"
	"time"

	merrors "github.com/micro/micro/v3/service/errors"
)

// id is the id of errors that the gateway itself answers with.
const id = "gateway"

// Refusal is why a call is not let through.
type Refusal struct {
	// Micro is what the caller is answered.
	Micro *merrors.Error
	// RetryAfter is when the same call may succeed; 0 is never, or not known.
	RetryAfter time.Duration

	result string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Micro.Error() }

// Unwrap returns the Micro error.
func (r *Refusal) Unwrap() error { return r.Micro }

// Results of calls, as metrics have them.
const (
	resultAllowed     = "allowed"
	resultNoKey       = "no_key"
	resultUnknownKey  = "unknown_key"
	resultInactive    = "inactive"
	resultBlocked     = "blocked"
	resultScope       = "scope"
	resultUnpublished = "unpublished"
	resultRate        = "rate"
	resultQuota       = "quota"
	resultUndecided   = "undecided"
	resultFull        = "full"
)

var results = []string{
	resultAllowed, resultNoKey, resultUnknownKey, resultInactive, resultBlocked, resultScope, resultUnpublished, resultRate,
	resultQuota, resultUndecided, resultFull,
}

func refuse(result string, code int32, detail string, retryAfter time.Duration) *Refusal {
	return &Refusal{
		Micro:      &merrors.Error{Id: id, Code: code, Detail: detail, Status: http.StatusText(int(code))},
		RetryAfter: retryAfter, result: result,
	}
}

// soon is when it may be worth while to try again what is a matter of the platform.
const soon = time.Second

// The refusals that are always the same. Nobody changes them.
var (
	errNoKey = refuse(resultNoKey, http.StatusUnauthorized,
		"an API key is needed: send Authorization: Bearer and the key, or X-Api-Key", 0)
	errTwoKeys = refuse(resultNoKey, http.StatusUnauthorized,
		"expected one API key: Authorization and X-Api-Key have different ones, or one of them is there twice", 0)
	errUnknownKey = refuse(resultUnknownKey, http.StatusUnauthorized,
		"the API key is not good, or not any more: make another one", 0)
	errInactive = refuse(resultInactive, http.StatusForbidden, "the customer whose API key it is is not active", 0)
	errScope    = refuse(resultScope, http.StatusForbidden, "the API key is not for this endpoint", 0)
	errPath     = refuse(resultUnpublished, http.StatusNotFound, "the path names no API: expected /v1/<api>/<endpoint>", 0)
	errNoAPI    = refuse(resultUnpublished, http.StatusNotFound, "there is no such API, or it has no such endpoint", 0)
	errRate     = refuse(resultRate, http.StatusTooManyRequests,
		"more calls a second than the tier has: slow down, or subscribe to another one", time.Second)
	errNoRate = refuse(resultRate, http.StatusTooManyRequests,
		"the tier has no calls: subscribe to another one", time.Minute)
	errUndecided = refuse(resultUndecided, http.StatusServiceUnavailable,
		"it cannot be found out at the moment whether the call may be made; try again", soon)
	errUncounted = refuse(resultFull, http.StatusServiceUnavailable, "the call cannot be counted at the moment; try again", soon)
)

// errQuota is the refusal of a call above the quota, which is a new one when the month is over.
func errQuota(now time.Time) *Refusal {
	return refuse(resultQuota, http.StatusTooManyRequests,
		"the quota of the month is used up: subscribe to another tier, or wait for the next month (UTC)", endOf(now).Sub(now))
}
