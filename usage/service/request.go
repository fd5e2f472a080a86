package service

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/errors"
)

// Limits of what is recorded. A batch of the largest requests is still an event that the stream takes.
const (
	MaxBatch   = 1000 // requests
	maxBatchID = 64   // characters
	maxKeyID   = 64   // characters
	maxName    = 64   // characters
	maxURL     = 512  // characters
	maxPrice   = 1_000_000_000_000
	maxUnits   = 1_000_000_000

	// MaxAge is how long after it was made a request is recorded. A month can still be closed some days after its end.
	MaxAge = 35 * 24 * time.Hour
	// maxSkew is how far the clock of whoever records may be ahead.
	maxSkew = 5 * time.Minute
)

// Request is one call of an endpoint by a customer.
type Request struct {
	ID         string // a UUID, which no other request has
	CustomerID string // a UUID
	APIKeyID   string // may be empty
	API        string
	Endpoint   string
	URL        string // the path that was called; may be empty
	Price      int64  // in millionths of a US dollar
	Status     int32  // of the answer, as in HTTP
	Units      int64  // how much was used, in the endpoint's own unit
	// Time is when it was made. It decides about the day and the month that it counts in, in UTC.
	Time time.Time
}

// counted is what a request is counted by.
type counted struct {
	// index is which of the requests it is that were given together.
	index         int
	id, customer  uuid.UUID
	api, endpoint string
	// time is in microseconds since 1970.
	time int64
}

// counted checks what a request is counted by.
func (r *Request) counted(index int) (counted, *errors.Error) {
	id, ok := parseUUID(r.ID)
	if !ok {
		return counted{}, notUUID("id", r.ID, "the id of the request")
	}
	customer, ok := parseUUID(r.CustomerID)
	if !ok {
		return counted{}, notUUID("customer_id", r.CustomerID, "the id of a customer")
	}
	if err := checkName("api_name", r.API); err != nil {
		return counted{}, err
	}
	if err := checkName("endpoint_name", r.Endpoint); err != nil {
		return counted{}, err
	}
	return counted{index, id, customer, r.API, r.Endpoint, r.Time.UnixMicro()}, nil
}

// check checks the rest of a request, which is to be recorded at a time.
func (r *Request) check(now time.Time) *errors.Error {
	switch {
	case len(r.APIKeyID) > maxKeyID || !plain(r.APIKeyID):
		return errors.Invalid("api_key_id", "must have at most %d printable ASCII characters, no spaces, quotes or backslashes", maxKeyID)
	case len(r.URL) > maxURL || !plain(r.URL):
		return errors.Invalid("url", "must have at most %d printable ASCII characters, no spaces, quotes or backslashes", maxURL)
	case strings.ContainsAny(r.URL, "?#"):
		return errors.Invalid("url", "must be a path alone, without what follows a question mark or a hash")
	case r.Price < 0 || r.Price > maxPrice:
		return errors.Invalid("price", "must be from 0 to %d millionths of a dollar", maxPrice)
	case r.Status < 100 || r.Status > 599:
		return errors.Invalid("status", "must be an HTTP status, from 100 to 599")
	case r.Units < 0 || r.Units > maxUnits:
		return errors.Invalid("units", "must be from 0 to %d", maxUnits)
	case r.Time.IsZero():
		return errors.Invalid("time", "required")
	case r.Time.After(now.Add(maxSkew)): // pkg/gateway knows it by these words: they are not to be changed here alone
		return errors.Invalid("time", "must not be in the future")
	case r.Time.Before(now.Add(-MaxAge)):
		return errors.Invalid("time", "must be in the last %d days", MaxAge/(24*time.Hour))
	}
	return nil
}

// at returns an error of a request as one of the batch that it is in.
func at(i int, err *errors.Error) error { return errors.Within(fmt.Sprintf("requests[%d]", i), err) }

// checkName checks the name of an API or an endpoint.
func checkName(field, s string) *errors.Error {
	if s == "" {
		return errors.Invalid(field, "required")
	}
	if len(s) > maxName || !plain(s) {
		return errors.Invalid(field, "must have 1 to %d printable ASCII characters, no spaces, quotes or backslashes", maxName)
	}
	return nil
}

// checkBatchID checks the name of a batch.
func checkBatchID(field, s string) error {
	if s == "" {
		return errors.Invalid(field, "required")
	}
	if len(s) > maxBatchID || !printable(s, ' ') {
		return errors.Invalid(field, "must have 1 to %d printable ASCII characters", maxBatchID)
	}
	return nil
}

// plain says whether a text is the same in JSON as it is without, and may stand in a log.
func plain(s string) bool { return printable(s, '!') && !strings.ContainsAny(s, `"\`) }

func printable(s string, lowest byte) bool {
	for i := range len(s) {
		if s[i] < lowest || s[i] > '~' {
			return false
		}
	}
	return true
}

// parseUUID reads a UUID in the one form that is ours.
func parseUUID(s string) (uuid.UUID, bool) {
	if len(s) != len(uuid.Nil.String()) {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(s)
	return id, err == nil
}

func notUUID(field, s, what string) *errors.Error {
	if s == "" {
		return errors.Invalid(field, "required")
	}
	return errors.Invalid(field, "must be %s, a UUID such as %s", what, uuid.Nil)
}
