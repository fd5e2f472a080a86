package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	microerrors "github.com/micro/micro/v3/service/errors"
	"google.golang.org/protobuf/types/known/timestamppb"

	usage "github.com/m3o/backend/usage/proto"
)

// config says what is recorded.
type config struct{ requests, customers, batch, rate, workers int }

func (c config) validate() error {
	switch {
	case c.requests < 1 || c.requests > 100_000_000:
		return errors.New("-n: must be from 1 to 100000000")
	case c.customers < 1 || c.customers > 1_000_000:
		return errors.New("-customers: must be from 1 to 1000000")
	case c.batch < 1 || c.batch > 1000:
		return errors.New("-batch: must be from 1 to 1000")
	case c.rate < 1 || c.rate > 1_000_000:
		return errors.New("-rate: must be from 1 to 1000000")
	case c.workers < 1 || c.workers > 64:
		return errors.New("-workers: must be from 1 to 64")
	}
	return nil
}

// truth is what was recorded.
type truth struct {
	// Requests is how many it was, and Customers how many of each, by id.
	Requests  int            `json:"requests"`
	Customers map[string]int `json:"customers"`
	// Uncertain are those of calls that were not answered: any of them may have been recorded.
	Uncertain map[string]int `json:"uncertain,omitempty"`
}

// service returns a client to make a call with.
type service func() (usage.UsageService, error)

// pause is the time between two attempts, and between two looks at the counters.
const pause = 100 * time.Millisecond

// load records requests, and returns what it has recorded also when it returns an error, nil if it has not begun. It tells
// progress once a second.
func load(ctx context.Context, cfg config, s service, progress io.Writer) (*truth, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ids := make([]string, cfg.customers)
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	t := &recorder{truth: truth{Customers: make(map[string]int, cfg.customers), Uncertain: make(map[string]int)}}
	batches := make(chan *usage.RecordRequest)
	var wg sync.WaitGroup
	for range cfg.workers {
		wg.Go(func() {
			for batch := range batches {
				err := record(ctx, s, batch)
				t.add(batch, err == nil)
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	began := time.Now()
	told := began
	for sent := 0; sent < cfg.requests && ctx.Err() == nil; {
		n := min(cfg.batch, cfg.requests-sent)
		wait(ctx, time.Until(began.Add(time.Duration(sent)*time.Second/time.Duration(cfg.rate))))
		select {
		case batches <- newBatch(ids, n):
			sent += n
		case <-ctx.Done():
		}
		if time.Since(told) > time.Second {
			told = time.Now()
			t.tell(progress, cfg.requests, began)
		}
	}
	close(batches)
	wg.Wait()
	t.tell(progress, cfg.requests, began)
	return &t.truth, context.Cause(ctx)
}

// newBatch makes up n requests.
func newBatch(customers []string, n int) *usage.RecordRequest {
	batch := &usage.RecordRequest{BatchId: uuid.NewString(), Requests: make([]*usage.Request, n)}
	now := timestamppb.Now()
	for i := range batch.Requests {
		endpoint := []string{"Now", "Forecast"}[i%2]
		batch.Requests[i] = &usage.Request{
			Id: uuid.NewString(), CustomerId: customers[rand.IntN(len(customers))], ApiName: "weather", EndpointName: endpoint,
			Url: "/v1/weather/" + endpoint, Price: 100, Status: http.StatusOK, Units: 1, Time: now,
		}
	}
	return batch
}

// record records a batch, however long that takes, unless it is refused or ctx ends.
func record(ctx context.Context, s service, batch *usage.RecordRequest) error {
	for {
		client, err := s()
		if err != nil {
			return err
		}
		_, err = client.Record(ctx, batch)
		switch {
		case err == nil:
			return nil
		case refused(err):
			return fmt.Errorf("record: %w", err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		wait(ctx, pause)
	}
}

// refused says whether the same call would be refused again. A service that does not run now may well be "not found".
func refused(err error) bool {
	switch microerrors.FromError(err).Code {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
		return true
	}
	return false
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// recorder writes down what was recorded.
type recorder struct {
	mu    sync.Mutex
	truth truth
}

func (r *recorder) add(batch *usage.RecordRequest, certain bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.truth.Uncertain
	if certain {
		to = r.truth.Customers
		r.truth.Requests += len(batch.Requests)
	}
	for _, q := range batch.Requests {
		to[q.CustomerId]++
	}
}

func (r *recorder) tell(out io.Writer, of int, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(out, "%d of %d requests recorded, %.0f/s\n", r.truth.Requests, of,
		float64(r.truth.Requests)/time.Since(began).Seconds())
}

// compare waits until the counters of the month show what was recorded. It returns an error at once when they show more than
// can be, and one when ctx ends before.
func compare(ctx context.Context, t *truth, s service) error {
	for id, want := range t.Customers {
		for {
			got, err := total(ctx, s, id)
			switch {
			case err == nil && got > int64(want+t.Uncertain[id]):
				return fmt.Errorf("customer %s has %d requests counted, of %d", id, got, want)
			case err == nil && got >= int64(want):
			case err != nil && refused(err):
				return fmt.Errorf("read the total of a month: %w", err)
			case ctx.Err() != nil:
				return fmt.Errorf("customer %s has %d requests counted, of %d, and the time is over", id, got, want)
			default:
				wait(ctx, pause)
				continue
			}
			break
		}
	}
	return nil
}

func total(ctx context.Context, s service, customer string) (int64, error) {
	client, err := s()
	if err != nil {
		return 0, err
	}
	rsp, err := client.ReadMonthlyTotal(ctx, &usage.ReadMonthlyTotalRequest{CustomerId: customer})
	if err != nil {
		return 0, err
	}
	return rsp.Requests, nil
}
