package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	usage "github.com/m3o/backend/usage/proto"
	"github.com/m3o/backend/usage/proto/fakes"
)

// counter is a usage service that counts at once. Each batch is recorded and then not answered the first time.
type counter struct {
	mu     sync.Mutex
	seen   map[string]bool
	counts map[string]int64
	more   int64 // what it counts too much
}

func (c *counter) service() *fakes.FakeUsageService {
	c.seen, c.counts = make(map[string]bool), make(map[string]int64)
	f := &fakes.FakeUsageService{}
	f.RecordCalls(func(_ context.Context, req *usage.RecordRequest, _ ...client.CallOption) (*usage.RecordResponse, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.seen[req.BatchId] {
			return &usage.RecordResponse{}, nil
		}
		c.seen[req.BatchId] = true
		for _, r := range req.Requests {
			c.counts[r.CustomerId]++
		}
		return nil, microerrors.InternalServerError("usage", "connection lost")
	})
	f.ReadMonthlyTotalCalls(func(_ context.Context, req *usage.ReadMonthlyTotalRequest, _ ...client.CallOption) (*usage.ReadMonthlyTotalResponse, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return &usage.ReadMonthlyTotalResponse{Requests: c.counts[req.CustomerId] + c.more}, nil
	})
	return f
}

func of(f usage.UsageService) service { return func() (usage.UsageService, error) { return f, nil } }

var small = config{requests: 1050, customers: 7, batch: 100, rate: 1_000_000, workers: 3}

func TestLoad(t *testing.T) {
	t.Parallel()
	c := &counter{}
	f := c.service()
	truth, err := load(t.Context(), small, of(f), io.Discard)
	require.NoError(t, err)
	require.Equal(t, 1050, truth.Requests)
	require.Empty(t, truth.Uncertain)
	require.Len(t, truth.Customers, 7)
	require.Equal(t, 22, f.RecordCallCount(), "eleven batches, each of them twice")
	for id, n := range truth.Customers {
		require.EqualValues(t, n, c.counts[id])
	}
	require.NoError(t, compare(t.Context(), truth, of(f)))

	c.more = 1
	require.ErrorContains(t, compare(t.Context(), truth, of(f)), "requests counted, of")
	c.more = -1
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, compare(ctx, truth, of(f)), "and the time is over")
}

func TestLoadIsBounded(t *testing.T) {
	t.Parallel()
	cfg := small
	cfg.rate = 5000 // so that the last batch is not sent before a fifth of a second
	began := time.Now()
	_, err := load(t.Context(), cfg, of((&counter{}).service()), io.Discard)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)
}

func TestLoadEndsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	f := &fakes.FakeUsageService{}
	f.RecordReturns(nil, microerrors.Forbidden("usage", "not you"))
	truth, err := load(t.Context(), small, of(f), io.Discard)
	require.ErrorContains(t, err, "not you")
	require.Zero(t, truth.Requests)
	require.NotEmpty(t, truth.Uncertain)
}

func TestLoadThatIsStoppedSaysWhatIsUncertain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := &fakes.FakeUsageService{}
	f.RecordCalls(func(context.Context, *usage.RecordRequest, ...client.CallOption) (*usage.RecordResponse, error) {
		cancel()
		return nil, microerrors.New("usage", "away", 503)
	})
	cfg := small
	cfg.workers = 1
	truth, err := load(ctx, cfg, of(f), io.Discard)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, truth.Requests)
	sum := 0
	for _, n := range truth.Uncertain {
		sum += n
	}
	require.Contains(t, []int{100, 200}, sum, "what was sent, and perhaps what was about to be")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []config{
		{0, 1, 1, 1, 1}, {1, 0, 1, 1, 1}, {1, 1, 0, 1, 1}, {1, 1, 1001, 1, 1}, {1, 1, 1, 0, 1}, {1, 1, 1, 1, 0}, {1, 1, 1, 1, 65},
	} {
		truth, err := load(t.Context(), cfg, nil, io.Discard)
		require.ErrorContains(t, err, "must be from 1 to")
		require.Nil(t, truth)
	}
	_, err := load(t.Context(), small, func() (usage.UsageService, error) { return nil, errors.New("no key") }, io.Discard)
	require.EqualError(t, err, "no key")
}
