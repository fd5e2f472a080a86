package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/singleflight"
)

// leases are those that this process keeps alive: one for each time to live, whatever the number of nodes that have it.
type leases struct {
	client *clientv3.Client
	ctx    context.Context //nolint:containedctx // for as long as leases are kept alive
	wg     sync.WaitGroup

	grants singleflight.Group
	mu     sync.Mutex
	alive  map[time.Duration]clientv3.LeaseID
}

// get returns a lease that is alive as far as is known. All who wait for the same one wait for one answer of etcd. There is no
// lease for ever.
func (l *leases) get(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, error) {
	if ttl <= 0 {
		return clientv3.NoLease, nil
	}
	// etcd counts in seconds.
	ttl = (ttl + time.Second - 1).Truncate(time.Second)
	l.mu.Lock()
	id, ok := l.alive[ttl]
	l.mu.Unlock()
	if ok {
		return id, nil
	}
	granted := l.grants.DoChan(ttl.String(), func() (any, error) { return l.grant(ttl) })
	select {
	case r := <-granted:
		if r.Err != nil {
			return 0, r.Err
		}
		return r.Val.(clientv3.LeaseID), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (l *leases) grant(ttl time.Duration) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(l.ctx, callTimeout)
	defer cancel()
	lease, err := l.client.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return 0, err
	}
	// It is kept alive by a third of its time, over one stream for all leases. The channel is closed when etcd says that there
	// is no such lease, or has said nothing for as long as it lives.
	answers, err := l.client.KeepAlive(l.ctx, lease.ID)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return 0, errClosed // nobody waits for what would begin now
	}
	l.alive[ttl] = lease.ID
	l.wg.Go(func() {
		for range answers { // they are of no other interest
		}
		l.lost(lease.ID)
	})
	return lease.ID, nil
}

// wait waits until nothing is kept alive any more, after ctx has ended.
func (l *leases) wait() {
	l.mu.Lock()   // whoever has it now knows that ctx has ended
	l.mu.Unlock() //nolint:staticcheck // there is nothing to do in between
	l.wg.Wait()
}

// lost forgets a lease that etcd does not have.
func (l *leases) lost(id clientv3.LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ttl, other := range l.alive {
		if other == id {
			delete(l.alive, ttl)
		}
	}
}
