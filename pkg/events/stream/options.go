package stream

import (
	"time"

	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/errors"
)

// Complete returns the options with what is left out, or says what is wrong with them.
func (o Options) Complete() (Options, error) {
	if err := ValidName("topic", o.Topic); err != nil {
		return o, err
	}
	if o.Group != "" {
		if err := ValidName("group", o.Group); err != nil {
			return o, err
		}
	}
	if o.AckWait == 0 {
		o.AckWait = DefaultAckWait
	}
	if o.AckWait < MinAckWait || o.AckWait > MaxAckWait {
		return o, errors.Invalid("ack_wait", "must be from %s to %s", MinAckWait, MaxAckWait)
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	if o.MaxInFlight < 0 || o.MaxInFlight > MaxInFlight {
		return o, errors.Invalid("max_in_flight", "must be from 1 to %d", MaxInFlight)
	}
	return o, nil
}

// ValidDelay makes sure that a delivery can be put off for that long.
func ValidDelay(d time.Duration) error {
	if d < 0 || d > MaxDelay {
		return errors.Invalid("delay", "must be from 0 to %s", MaxDelay)
	}
	return nil
}

// ReadOptions are those of Micro's Read, completed.
func ReadOptions(opts ...events.ReadOption) (limit int, offset uint64) {
	var o events.ReadOptions
	for _, f := range opts {
		f(&o)
	}
	limit = DefaultRead
	if o.Limit > 0 {
		limit = int(min(o.Limit, MaxBatch))
	}
	return limit, uint64(o.Offset)
}

// PassingError says why a stream cannot take what it is given at the moment: a topic is full, a disk is full. Its text is
// for whoever publishes.
type PassingError struct {
	Detail string
	// Cause is for the log; it may be nil.
	Cause error
}

// Error implements error.
func (e *PassingError) Error() string { return e.Detail }

// Unwrap returns the cause.
func (e *PassingError) Unwrap() error { return e.Cause }
