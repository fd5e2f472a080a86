package direct

import (
	"context"
	stderrors "errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"
)

// Retries are at most what a client starts with and a tenth of its calls, whatever the order.
func TestBudget(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var b budget
		calls, retries, refused := 0, 0, 0
		for _, call := range rapid.SliceOfN(rapid.Bool(), 0, 500).Draw(t, "calls") {
			if call {
				b.earn()
				calls++
				continue
			}
			left := retryBurst*retryShare - int(b.spent.Load())
			if b.take() {
				retries++
			} else {
				refused++
				if left >= retryShare {
					t.Fatalf("a retry was refused with %d tenths left", left)
				}
			}
		}
		if retries > retryBurst+calls/retryShare {
			t.Fatalf("%d retries for %d calls", retries, calls)
		}
		if retries+refused > 0 && retries == 0 {
			t.Fatalf("none of %d retries was allowed", refused)
		}
	})
}

// peers returns ready peers that have no connection.
func peers(n int) []*peer {
	list := make([]*peer, n)
	for i := range list {
		list[i] = &peer{place: place{addr: fmt.Sprint(i)}}
		list[i].refs.Store(1)
		list[i].state.Store(int32(connectivity.Ready))
	}
	return list
}

func TestChoiceIsEven(t *testing.T) {
	t.Parallel()
	nodes := peers(5)
	const calls = 50_000
	for range calls {
		choose(nodes, nil).refs.Add(1) // none of them ends
	}
	for _, p := range nodes {
		assert.InDelta(t, calls/len(nodes), p.refs.Load(), 5, "two choices keep the busiest close to the average")
	}
	// None of them is busier than others: chance alone decides.
	seen := make(map[*peer]int)
	nodes = peers(5)
	for range calls {
		seen[choose(nodes, nil)]++
	}
	for _, p := range nodes {
		assert.InDelta(t, calls/len(nodes), seen[p], calls/50)
	}
}

func TestChoiceAvoidsTheBusy(t *testing.T) {
	t.Parallel()
	nodes := peers(3)
	nodes[1].refs.Store(100)
	for range 1000 {
		assert.NotEqual(t, nodes[1], choose(nodes, nil))
	}
}

func TestChoicePrefersWhatCanBeReached(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes := peers(rapid.IntRange(0, 6).Draw(t, "nodes"))
		var tried []*peer
		rank := make(map[*peer]int)
		best := 0
		for i, p := range nodes {
			state := rapid.SampledFrom([]connectivity.State{
				connectivity.Idle, connectivity.Connecting, connectivity.Ready, connectivity.TransientFailure,
			}).Draw(t, fmt.Sprint("state", i))
			p.state.Store(int32(state))
			switch state {
			case connectivity.Ready:
				rank[p] = 3
				if rapid.Bool().Draw(t, fmt.Sprint("aside", i)) {
					p.setAside(time.Hour)
					rank[p] = 2
				}
			case connectivity.TransientFailure:
				rank[p] = 1
			default:
				rank[p] = 2
			}
			if rapid.Bool().Draw(t, fmt.Sprint("tried", i)) {
				tried = append(tried, p)
				rank[p] = 0
			}
			best = max(best, rank[p])
		}
		p := choose(nodes, tried)
		if best == 0 {
			assert.Nil(t, p)
			return
		}
		assert.NotNil(t, p)
		assert.Equal(t, best, rank[p])
	})
}

func TestFate(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	answer := func(code codes.Code, text string) error { return status.Error(code, text) }
	for name, tc := range map[string]struct {
		ctx  context.Context
		err  error
		want fate
	}{
		"no connection":          {err: &notSentError{stderrors.New("refused")}, want: untouched},
		"no connection, wrapped": {err: fmt.Errorf("wrapper: %w", &notSentError{stderrors.New("refused")}), want: untouched},
		"stopping":               {err: answer(codes.Unavailable, `{"id":"a.B.C","code":503,"detail":"`+Stopping+`"}`), want: untouched},
		"busy":                   {err: answer(codes.Unavailable, `{"id":"a.B.C","code":503,"detail":"busy"}`), want: final},
		"connection lost":        {err: answer(codes.Unavailable, "error reading from server: EOF"), want: unknown},
		"the caller has gone":    {ctx: ended, err: answer(codes.Unavailable, "error reading from server: EOF"), want: final},
		"a wrong request":        {err: answer(codes.InvalidArgument, "no"), want: final},
		"of a wrapper":           {err: stderrors.New("no"), want: final},
	} {
		if tc.ctx == nil {
			tc.ctx = t.Context()
		}
		assert.Equal(t, tc.want, fateOf(tc.ctx, tc.err), name)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ service, endpoint, want string }{
		{"customers", "Customers.Create", "/customers.Customers/Create"},
		{"", "Customers.Create", "/Customers/Create"},
		{"customers", "/a.B/C", "/a.B/C"},
		{"customers", "a.B.C", "a.B.C"},
		{"customers", "", ""},
	} {
		assert.Equal(t, tc.want, path(tc.service, tc.endpoint))
	}
}

func TestPeerIsClosedAfterItsLastCall(t *testing.T) {
	t.Parallel()
	o := newPool(func(*peer) {}, nil)
	listed, err := o.get(place{addr: "127.0.0.1:1"})
	require.NoError(t, err)
	require.True(t, listed.acquire(), "a call")
	listed.release()
	assert.NotEqual(t, connectivity.Shutdown, listed.conn.GetState(), "a call is under way")
	again, err := o.get(place{addr: "127.0.0.1:1"})
	require.NoError(t, err)
	assert.Same(t, listed, again, "who comes back finds the same connection")
	again.release()
	listed.release()
	assert.Equal(t, connectivity.Shutdown, listed.conn.GetState())
	assert.False(t, listed.acquire())
	other, err := o.get(place{addr: "127.0.0.1:1"})
	require.NoError(t, err)
	assert.NotSame(t, listed, other)
	require.NoError(t, o.close())
}

func TestNamedAddressesAreKeptForAWhile(t *testing.T) {
	t.Parallel()
	o := newPool(func(*peer) {}, nil)
	p, err := o.byAddress("127.0.0.1:1", "a")
	require.NoError(t, err)
	o.sweep()
	again, err := o.byAddress("127.0.0.1:1", "a")
	require.NoError(t, err)
	require.Same(t, p, again)
	o.sweep()
	assert.NotEqual(t, connectivity.Shutdown, p.conn.GetState())
	o.sweep()
	assert.Equal(t, connectivity.Shutdown, p.conn.GetState())
	require.NoError(t, o.close())
}

// overdue is a context whose deadline has passed, and whose timer has not said so yet.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Now().Add(-time.Nanosecond), true }

// Whether the service or the own timer is the first to say that the deadline has passed, the caller is told the same; and what
// else a service has answered by then is its answer.
func TestWhoSaysThatItIsTooLate(t *testing.T) {
	t.Parallel()
	late := status.Error(codes.DeadlineExceeded, `{"id":"a.B.C","code":408,"detail":"the call took longer than its caller wanted to wait"}`)
	missing := status.Error(codes.NotFound, `{"id":"a.B.C","code":404,"detail":"there is none"}`)
	require.EqualError(t, microError(overdue{t.Context()}, "a", "B.C", late), ended(overdue{t.Context()}).Error())
	require.Contains(t, microError(t.Context(), "a", "B.C", late).Error(), "a.B.C", "not the caller's deadline")
	require.Contains(t, microError(overdue{t.Context()}, "a", "B.C", missing).Error(), "there is none")
}
