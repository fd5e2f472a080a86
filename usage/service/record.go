package service

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
	requestsevents "github.com/m3o/backend/pkg/events/proto/requests"
)

// Recorded is what has become of the requests of a batch.
type Recorded struct {
	// Accepted is how many are to be counted.
	Accepted int
	// Duplicates is how many were known already, or stand in the batch twice.
	Duplicates int
}

// Record accepts requests that were made, which are counted soon after. A request that is known already is not accepted
// again. A batch that was recorded already is answered as it was then, if it has the same requests, in any order; with
// other requests it is a conflict.
func (u *Usage) Record(ctx context.Context, batchID string, requests []Request) (Recorded, error) {
	b, err := u.batch(batchID, requests)
	if err != nil {
		return Recorded{}, err
	}
	var result Recorded
	err = u.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		claimed, err := insertBatch(ctx, tx, b)
		if err != nil {
			return err
		}
		if !claimed {
			result, err = answerOf(ctx, tx, b)
			return err
		}
		fresh, err := accept(ctx, tx, b.requests, b.recorded)
		if err != nil {
			return err
		}
		result = Recorded{Accepted: len(fresh), Duplicates: len(requests) - len(fresh)}
		if len(fresh) > 0 {
			if err := u.outbox.Add(ctx, tx, events.Draft{Topic: requestsevents.Topic, Message: b.event(requests, fresh)}); err != nil {
				return err
			}
		}
		return answerBatch(ctx, tx, b.id, result)
	})
	if err != nil {
		return Recorded{}, fmt.Errorf("record requests: %w", err)
	}
	return result, nil
}

// batch is a batch that was checked.
type batch struct {
	id string
	// requests are sorted by id, each once.
	requests []counted
	// digest is the same for the same requests, in whatever order.
	digest   [sha256.Size]byte
	recorded time.Time
}

// batch checks a batch.
func (u *Usage) batch(id string, requests []Request) (*batch, error) {
	if err := checkBatchID("batch_id", id); err != nil {
		return nil, err
	}
	if len(requests) < 1 || len(requests) > MaxBatch {
		return nil, errors.Invalid("requests", "must be 1 to %d", MaxBatch)
	}
	b := &batch{id: id, requests: make([]counted, len(requests)), recorded: u.now()}
	for i := range requests {
		r, err := requests[i].counted(i)
		if err == nil {
			err = requests[i].check(b.recorded)
		}
		if err != nil {
			return nil, at(i, err)
		}
		b.requests[i] = r
	}
	sortByID(b.requests)
	b.digest = digest(requests, b.requests)
	b.requests = onceEach(b.requests)
	return b, nil
}

// digest makes a digest of all that requests say, in the order of their ids. Texts have their length before them, so that
// none can pass for the end of one and the beginning of the next.
func digest(requests []Request, sorted []counted) [sha256.Size]byte {
	text := make([]byte, 0, 256*len(sorted))
	put := func(s string) {
		text = binary.AppendUvarint(text, uint64(len(s)))
		text = append(text, s...)
	}
	for i := range sorted {
		c, r := &sorted[i], &requests[sorted[i].index]
		text = append(append(text, c.id[:]...), c.customer[:]...)
		put(r.APIKeyID)
		put(r.API)
		put(r.Endpoint)
		put(r.URL)
		for _, n := range []int64{r.Price, int64(r.Status), r.Units, c.time} {
			text = binary.AppendVarint(text, n)
		}
	}
	return sha256.Sum256(text)
}

// event has the accepted requests of a batch.
func (b *batch) event(requests []Request, fresh []counted) *requestsevents.Event {
	e := &requestsevents.Event{
		Type: requestsevents.EventType_EventTypeRequests, BatchId: b.id, Requests: make([]*requestsevents.Request, len(fresh)),
	}
	for i := range fresh {
		c, r := &fresh[i], &requests[fresh[i].index]
		e.Requests[i] = &requestsevents.Request{
			Id: c.id.String(), CustomerId: c.customer.String(), ApiKeyId: r.APIKeyID, ApiName: r.API, EndpointName: r.Endpoint,
			Url: r.URL, Price: r.Price, Status: r.Status, Units: r.Units, Time: timestamppb.New(time.UnixMicro(c.time)),
		}
	}
	return e
}

// MinRetention is for how long it has to be remembered which requests were accepted and counted: until Record would refuse
// them for their age.
const MinRetention = MaxAge + maxSkew

// retention is for how long it is remembered which requests were recorded and counted, and sweepAtOnce how many are forgotten
// in one transaction.
const (
	retention   = MinRetention + 10*24*time.Hour
	sweepAtOnce = 5000
)

// SweepOld forgets what need not be remembered any more. It is meant to be called by the clock.
func (u *Usage) SweepOld(ctx context.Context) error {
	for {
		n, err := u.Sweep(ctx, u.now().Add(-retention), sweepAtOnce)
		if err != nil || n == 0 {
			return err
		}
	}
}

// Sweep forgets requests and batches that became known before a time, at most limit of each, and returns how many it was:
// there may be more as long as it is not 0. What was counted stays counted. The time has to be MinRetention ago: a request
// that was forgotten would be counted again. One that is published again later than that, past Record, is.
func (u *Usage) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	switch {
	case before.After(u.now().Add(-MinRetention)):
		return 0, errors.Invalid("before", "must be at least %s ago", MinRetention)
	case limit < 1:
		return 0, errors.Invalid("limit", "must be at least 1")
	}
	swept := 0
	err := u.db.Tx(ctx, func(ctx context.Context, tx database.Querier) (err error) {
		swept, err = sweep(ctx, tx, before, limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	return swept, nil
}
