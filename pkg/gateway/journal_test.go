package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/gateway/journal"
	usage "github.com/m3o/backend/usage/proto"
)

// While usage is away calls are let through until the journal is full, and not one more; all of them are counted, once it is
// there again, and calls are let through again.
func TestFullJournal(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.usage.RecordCalls(nil)
	s.usage.RecordReturns(nil, errAway)
	passed := 0
	for ; ; passed++ {
		r := s.call(t, janesKey)
		if r.code != http.StatusOK {
			requireError(t, r, 503, "the call cannot be counted at the moment")
			break
		}
	}
	require.Greater(t, passed, 3000)
	require.EqualValues(t, passed, s.sold.calls.Load(), "what cannot be counted has not reached the service")
	require.EqualError(t, s.Check(t.Context()), "the journal is full")
	require.InDelta(t, 1<<20, s.metric(t, "gateway_journal_bytes"), 3000)
	require.Eventually(t, func() bool { return s.metric(t, "gateway_batches_failed_total") > 0 }, 10*time.Second, time.Millisecond)
	s.clock.add(time.Minute)
	require.EqualValues(t, 60, s.metric(t, "gateway_journal_age_seconds"))
	s.usage.RecordCalls(s.record)
	s.requireCounted(t, passed)
	require.Eventually(t, func() bool { return s.Check(t.Context()) == nil }, 10*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	s.requireCounted(t, passed+1)
	require.Zero(t, s.again)
}

// A call that cannot be written down has no answer, and takes nothing of the quota.
func TestCallThatCannotBeWrittenDown(t *testing.T) {
	t.Parallel()
	s := newPlatform().start(t, t.TempDir())
	s.subscribe("free", 1)
	header := http.Header{"X-Api-Key": {janesKey}}
	call, err := s.Admit(t.Context(), path, header)
	require.NoError(t, err)
	require.NoError(t, s.Close()) // the file is closed
	require.ErrorContains(t, call.Count(200), "the call cannot be counted")
	require.EqualValues(t, 1, s.metric(t, "gateway_uncounted_total"))
	_, err = s.Admit(t.Context(), path, header)
	require.ErrorContains(t, err, "cannot be counted", "and not: the quota is used up")
	require.Zero(t, s.count())
}

// What one process has let through the next one hands on; and what usage has been told of already is not counted again.
func TestRestart(t *testing.T) {
	t.Parallel()
	p := newPlatform()
	dir := t.TempDir()
	first := p.start(t, dir)
	for range 10 {
		require.Equal(t, http.StatusOK, first.call(t, janesKey).code)
	}
	first.requireCounted(t, 10)
	// It takes them, and the answer is lost.
	lost := func(ctx context.Context, req *usage.RecordRequest, opts ...client.CallOption) (*usage.RecordResponse, error) {
		_, _ = p.record(ctx, req, opts...)
		return nil, errAway
	}
	p.usage.RecordCalls(lost)
	for range 10 {
		require.Equal(t, http.StatusOK, first.call(t, janesKey).code)
	}
	first.requireCounted(t, 20)
	require.NoError(t, first.Close())
	p.usage.RecordCalls(p.record)
	second := p.start(t, dir)
	for range 10 {
		require.Equal(t, http.StatusOK, second.call(t, janesKey).code)
	}
	second.requireCounted(t, 30)
	require.Eventually(t, func() bool { return second.metric(t, "gateway_duplicates_total") >= 10 }, 10*time.Second, time.Millisecond)
	require.NoError(t, second.Close())
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, "lock")}, left, "nothing is left")
}

// A call that usage refuses is set aside, and stops none of the others.
func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	s := setup(t)
	batches := make(map[string]int)
	s.usage.RecordCalls(func(ctx context.Context, req *usage.RecordRequest, opts ...client.CallOption) (*usage.RecordResponse, error) {
		s.mu.Lock()
		batches[req.BatchId] = len(req.Requests)
		s.mu.Unlock()
		if len(req.BatchId) > 64 || len(req.Requests) > 1000 {
			return nil, merrors.BadRequest("usage.Usage.Record", "batch_id: too long")
		}
		if i := slices.IndexFunc(req.Requests, func(r *usage.Request) bool { return r.CustomerId == joe }); i >= 0 {
			return nil, merrors.BadRequest("usage.Usage.Record", "requests[%d].customer_id: must not be", i)
		}
		return s.record(ctx, req, opts...)
	})
	for i := range 200 {
		key := janesKey
		if i%50 == 7 {
			key = "key-of-joe"
		}
		require.Equal(t, http.StatusOK, s.call(t, key).code)
	}
	s.requireCounted(t, 196)
	require.Eventually(t, func() bool { return s.metric(t, "gateway_set_aside_total") == 4 }, 10*time.Second, time.Millisecond)
	lines := strings.Split(strings.TrimSpace(s.aside(t)), "\n")
	require.Len(t, lines, 4)
	for _, line := range lines {
		require.Contains(t, line, joe)
		require.Contains(t, line, `"reason":"requests[0].customer_id: must not be"`)
	}
	require.Zero(t, s.again)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Less(t, len(batches), 60)
}

// A call whose time is in the future when usage is told of it is counted nevertheless: the clock was ahead and was set back,
// or is ahead of that of usage. Calls beside it keep their times.
func TestCallsInTheFuture(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setBack, behind time.Duration // the gateway's clock, and usage's behind it then
		detail          string
	}{
		"set back":               {time.Hour, 0, "requests[0].time: must not be in the future"},
		"set back, other words":  {time.Hour, 0, "that is later than now"},
		"ahead":                  {0, 7 * time.Minute, "requests[0].time: must not be in the future"},
		"days ahead":             {0, 72 * time.Hour, "requests[0].time: must not be in the future"},
		"set back, ahead, still": {time.Hour, time.Hour, "requests[0].time: must not be in the future"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlatform()
			p.usage.RecordCalls(nil)
			p.usage.RecordReturns(nil, errAway)
			dir := t.TempDir()
			s := p.start(t, dir)
			before := 2*time.Hour + 2*c.behind
			old := p.clock.now().Add(-before)
			p.clock.at.Store(old.UnixNano())
			require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
			p.clock.add(before)
			for range 20 {
				require.Equal(t, http.StatusOK, s.call(t, "key-of-joe").code)
			}
			require.NoError(t, s.Close())

			p.clock.add(-c.setBack)
			batches := make(map[string]string)
			p.usage.RecordCalls(func(ctx context.Context, req *usage.RecordRequest, opts ...client.CallOption) (*usage.RecordResponse, error) {
				says := fmt.Sprint(req.Requests)
				p.mu.Lock()
				known, ok := batches[req.BatchId]
				batches[req.BatchId] = says
				p.mu.Unlock()
				if ok && known != says || len(req.BatchId) > 64 {
					return nil, merrors.Conflict("usage.Usage.Record", "batch_id: names another batch")
				}
				for _, r := range req.Requests {
					if r.Time.AsTime().After(p.clock.now().Add(5*time.Minute - c.behind)) {
						return nil, merrors.BadRequest("usage.Usage.Record", "%s", c.detail)
					}
				}
				return p.record(ctx, req, opts...)
			})
			s = p.start(t, dir)
			s.requireCounted(t, 21)
			require.NoError(t, s.Close())
			require.Empty(t, s.aside(t))
			require.Zero(t, s.again)
			for _, r := range s.counted {
				require.False(t, r.Time.AsTime().After(p.clock.now()))
				if r.CustomerId == jane {
					require.Equal(t, old.UTC(), r.Time.AsTime())
				}
			}
		})
	}
	// One that is refused for something else is set aside.
	s := setup(t)
	s.usage.RecordCalls(nil)
	s.usage.RecordReturns(nil, errAway)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	s.clock.add(-time.Hour)
	s.usage.RecordReturns(nil, merrors.BadRequest("usage.Usage.Record", "requests[0].url: must not be"))
	require.Eventually(t, func() bool { return s.metric(t, "gateway_set_aside_total") == 1 }, 10*time.Second, time.Millisecond)
	// And so is one of which usage says that it is in the future however old it is.
	s.usage.RecordReturns(nil, merrors.BadRequest("usage.Usage.Record", "requests[0].time: must not be in the future"))
	s.clock.add(2 * time.Hour)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	require.Eventually(t, func() bool { return s.metric(t, "gateway_set_aside_total") == 2 }, 10*time.Second, time.Millisecond)
	require.Less(t, s.usage.RecordCallCount(), 100)
}

// What the disk has damaged is set aside, and so is what is no call; all else is counted.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	p := newPlatform()
	p.usage.RecordCalls(nil)
	p.usage.RecordReturns(nil, errors.New("away"))
	dir := t.TempDir()
	s := p.start(t, dir)
	for range 3 {
		require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	}
	require.NoError(t, s.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.segment"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	b[len(b)/2] ^= 1
	require.NoError(t, os.WriteFile(files[0], b, 0o600))
	other, err := journal.Open(journal.Config{Dir: dir, Max: 1 << 20, Segment: 1 << 16})
	require.NoError(t, err)
	require.True(t, other.Reserve())
	require.NoError(t, other.Append([]byte("no call")))
	require.NoError(t, other.Close())

	p.usage.RecordCalls(p.record)
	s = p.start(t, dir)
	s.requireCounted(t, 2)
	require.Eventually(t, func() bool { return strings.Count(s.aside(t), "\n") == 2 }, 10*time.Second, time.Millisecond)
	require.InDelta(t, len(b)/3, s.metric(t, "gateway_damaged_bytes_total"), 2)
	require.Eventually(t, func() bool { return s.metric(t, "gateway_set_aside_total") == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Close())
}

// What has vanished from the disk is told in the metric, although what is behind it is counted.
func TestVanishedJournal(t *testing.T) {
	t.Parallel()
	p := newPlatform()
	p.usage.RecordCalls(nil)
	p.usage.RecordReturns(nil, errAway)
	dir := t.TempDir()
	s := p.start(t, dir)
	require.Equal(t, http.StatusOK, s.call(t, janesKey).code)
	require.NoError(t, s.Close())
	second := p.start(t, dir) // which waits for usage with the first one
	require.Equal(t, http.StatusOK, second.call(t, janesKey).code)
	require.NoError(t, second.Close())
	p.usage.RecordCalls(func(ctx context.Context, req *usage.RecordRequest, opts ...client.CallOption) (*usage.RecordResponse, error) {
		files, err := filepath.Glob(filepath.Join(dir, "*", "*.segment"))
		if err != nil {
			return nil, err
		}
		slices.Sort(files)
		if p.count() == 0 { // the first batch: the file behind it vanishes
			if err := os.Remove(files[1]); err != nil {
				return nil, err
			}
		}
		return p.record(ctx, req, opts...)
	})
	third := p.start(t, dir)
	third.requireCounted(t, 1)
	require.Equal(t, http.StatusOK, third.call(t, janesKey).code)
	third.requireCounted(t, 2)
	require.Greater(t, third.metric(t, "gateway_damaged_bytes_total"), 100.0)
	require.NoError(t, third.Close())
}

// Two gateways count everything once, and let through no more than the quota and what the other one has let through since
// usage was asked.
func TestTwoGateways(t *testing.T) {
	t.Parallel()
	p := newPlatform()
	dir := t.TempDir()
	const quota = 400
	p.subscribe("free", quota)
	both := []*process{p.start(t, dir), p.start(t, dir)}
	var passed atomic.Int64
	for range 2 {
		var wg sync.WaitGroup
		for _, s := range both {
			for range 4 {
				wg.Go(func() {
					for range 100 {
						if s.call(t, janesKey).code == http.StatusOK {
							passed.Add(1)
						}
					}
				})
			}
		}
		wg.Wait()
		require.Eventually(t, func() bool { return p.count() == int(passed.Load()) }, 20*time.Second, time.Millisecond)
		p.clock.add(3 * time.Second)
	}
	require.GreaterOrEqual(t, passed.Load(), int64(quota))
	require.LessOrEqual(t, passed.Load(), int64(2*quota))
	for _, s := range both {
		requireError(t, s.call(t, janesKey), 429, "quota")
	}
	require.Zero(t, p.again)
	// One of them dies, and the other one hands on what it has left.
	p.subscribe("free", -1)
	p.clock.add(3 * time.Second)
	before := p.count()
	p.usage.RecordCalls(nil)
	p.usage.RecordReturns(nil, errAway)
	for range 5 {
		require.Equal(t, http.StatusOK, both[0].call(t, janesKey).code)
	}
	require.NoError(t, both[0].Close())
	p.usage.RecordCalls(p.record)
	p.requireCounted(t, before+5)
	require.NoError(t, both[1].Close())
}
