package etcd

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

// sweeping is how often it is looked whether nodes have not been registered again.
const sweeping = 500 * time.Millisecond

// registrar keeps in etcd what is registered here.
type registrar struct {
	client *clientv3.Client
	view   *view
	leases *leases

	mu      sync.Mutex
	entries map[string]*entry // by key
}

// entry is a node that is registered here.
type entry struct {
	mu sync.Mutex // held while etcd is told
	// dropped says that the registrar has forgotten the entry.
	dropped bool
	// ends is when the node is to vanish that is not registered again; zero is never.
	ends time.Time
	// text is the hash of what was registered, value is what was made of it.
	text  [sha256.Size]byte
	value string
	// lease is what it was put under last, revision is that of the put; 0 if it may have failed.
	lease    clientv3.LeaseID
	revision int64
}

// lock returns the entry of a key, locked.
func (r *registrar) lock(key string) *entry {
	for {
		r.mu.Lock()
		e := r.entries[key]
		if e == nil {
			e = new(entry)
			r.entries[key] = e
		}
		r.mu.Unlock()
		e.mu.Lock()
		if !e.dropped {
			return e
		}
		e.mu.Unlock()
	}
}

// drop forgets an entry that is locked.
func (r *registrar) drop(key string, e *entry) {
	e.dropped = true
	r.mu.Lock()
	delete(r.entries, key)
	r.mu.Unlock()
}

// register puts a node into etcd, unless it is there already under a lease that is alive.
func (r *registrar) register(ctx context.Context, id nodeID, key string, n *registry.Node, description []byte, ttl time.Duration) error {
	e := r.lock(key)
	defer e.mu.Unlock()
	if err := e.set(n, description); err != nil {
		return err
	}
	e.ends = time.Time{}
	if ttl > 0 {
		e.ends = time.Now().Add(ttl)
	}
	err := r.put(ctx, id, key, e, ttl)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) { // etcd has lost it, which nobody has noticed yet
		r.leases.lost(e.lease)
		err = r.put(ctx, id, key, e, ttl)
	}
	return err
}

// set makes what is to be put. Compressing it is the dear part, so it is done when it has changed.
func (e *entry) set(n *registry.Node, description []byte) error {
	text, err := json.Marshal(value{n.Address, n.Metadata, description})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if sum == e.text && e.value != "" {
		return nil
	}
	compressed, err := compress(description)
	if err != nil {
		return err
	}
	val, err := json.Marshal(value{n.Address, n.Metadata, compressed})
	if err != nil {
		return err
	}
	e.text, e.value, e.revision = sum, string(val), 0
	return nil
}

func (r *registrar) put(ctx context.Context, id nodeID, key string, e *entry, ttl time.Duration) error {
	lease, err := r.leases.get(ctx, ttl)
	if err != nil {
		return err
	}
	if e.revision != 0 && e.lease == lease && r.view.has(id, key, e.revision) {
		return nil
	}
	e.lease, e.revision = lease, 0
	response, err := insist(ctx, func() (*clientv3.PutResponse, error) {
		return r.client.Put(ctx, key, e.value, clientv3.WithLease(lease))
	})
	if err != nil {
		return err
	}
	e.revision = response.Header.Revision
	r.view.wait(ctx, e.revision)
	return nil
}

// deregister takes a node out of etcd, whoever has registered it.
func (r *registrar) deregister(ctx context.Context, key string) error {
	e := r.lock(key)
	defer e.mu.Unlock()
	response, err := insist(ctx, func() (*clientv3.DeleteResponse, error) { return r.client.Delete(ctx, key) })
	if err != nil {
		return err // the entry stays, and goes with its time
	}
	r.drop(key, e)
	if response.Deleted > 0 {
		r.view.wait(ctx, response.Header.Revision)
	}
	return nil
}

// insist does again what can be done twice, as long as etcd has no leader or the connection to it breaks. The client of etcd
// does so for what only reads.
func insist[T any](ctx context.Context, do func() (T, error)) (T, error) {
	for {
		result, err := do()
		if codeOf(err) != codes.Unavailable || !pause(ctx, askAgain) {
			return result, err
		}
	}
}

// sweep takes out what has not been registered again in time: the lease, which is shared, does so only when the process ends.
func (r *registrar) sweep(ctx context.Context) {
	for pause(ctx, sweeping) {
		r.mu.Lock()
		all := make(map[string]*entry, len(r.entries))
		for key, e := range r.entries {
			all[key] = e
		}
		r.mu.Unlock()
		now := time.Now()
		for key, e := range all {
			if err := r.end(ctx, key, e, now); err != nil {
				logger.Debugf("A node that is not registered any more cannot be taken out of etcd: %v", err)
				break
			}
		}
	}
}

func (r *registrar) end(ctx context.Context, key string, e *entry, now time.Time) error {
	if !e.mu.TryLock() {
		return nil // it is being registered
	}
	defer e.mu.Unlock()
	if e.dropped || e.ends.IsZero() || now.Before(e.ends) {
		return nil
	}
	if e.lease == clientv3.NoLease { // it was never put
		r.drop(key, e)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// By now it may be another process that registers it.
	_, err := r.client.Txn(ctx).If(clientv3.Compare(clientv3.LeaseValue(key), "=", e.lease)).Then(clientv3.OpDelete(key)).Commit()
	if err == nil {
		r.drop(key, e)
	}
	return err
}

// wait waits until the view has seen a revision, so that whoever registers finds itself. It is no failure if it takes too long.
func (v *view) wait(ctx context.Context, revision int64) {
	for {
		reached, moved := v.reached()
		if reached >= revision {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}
