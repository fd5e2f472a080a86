package etcd

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// beat is how often etcd is asked whether it is there and still has what it had.
	beat = 2 * time.Second
	// tick is how often it is looked whether nodes have lingered for long enough.
	tick = 250 * time.Millisecond
	// askAgain is how soon etcd is asked again that did not answer.
	askAgain = 200 * time.Millisecond
	// page is how many nodes are read at once.
	page = 500
)

// errAnother says that etcd has not got what it had.
var errAnother = errors.New("its data is another one")

// follower keeps a view up to date.
type follower struct {
	client *clientv3.Client
	root   string
	view   *view
}

// run follows what happens in etcd until ctx ends. The view has been loaded before.
func (f *follower) run(ctx context.Context) {
	for {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		logger.Infof("The registry is read again from etcd: %v", err)
		for {
			within, cancel := context.WithTimeout(ctx, loadTimeout)
			err := f.load(within)
			cancel()
			if err == nil {
				break
			}
			logger.Debugf("The registry cannot be read from etcd, known nodes are called on: %v", err)
			if !pause(ctx, askAgain) {
				return
			}
		}
	}
}

// follow takes in what happens from the view's revision on. It returns why it cannot go on: what has happened is not known any
// more (it was compacted away), the data is another one, or ctx has ended. Breaks of the connection are mended below it.
func (f *follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(clientv3.WithRequireLeader(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.keepAsking(ctx, cancel)
	}()
	defer func() {
		cancel(nil)
		<-done
	}()
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	revision, _ := f.view.reached()
	responses := f.client.Watch(ctx, f.root, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	for {
		select {
		case response, ok := <-responses:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !ok {
				return errors.New("the watch has ended")
			}
			if err := response.Err(); err != nil {
				return err
			}
			changes := make([]change, len(response.Events))
			for i, e := range response.Events {
				changes[i] = change{string(e.Kv.Key), e.Kv.Value, e.Type == clientv3.EventTypeDelete, e.Kv.ModRevision}
			}
			f.view.apply(changes, time.Now())
		case now := <-ticks.C:
			f.view.expire(now)
		}
	}
}

// keepAsking asks etcd now and then whether it still has what it had: a watch waits in silence for revisions that an etcd
// without its data is far from. It ends the watch if it has not.
func (f *follower) keepAsking(ctx context.Context, end context.CancelCauseFunc) {
	away := false
	for pause(ctx, beat) {
		within, cancel := context.WithTimeout(ctx, beat)
		epoch, revision, err := f.epoch(within)
		cancel()
		if err != nil {
			if !away && ctx.Err() == nil {
				logger.Warnf("etcd does not answer, known nodes are called on: %v", err)
				away = true
			}
			continue
		}
		if away {
			logger.Infof("etcd answers again")
			away = false
		}
		f.view.touch(time.Now())
		if !f.view.same(epoch, revision) {
			end(errAnother)
			return
		}
	}
}

// epoch returns what the data of etcd is known by, and its revision.
func (f *follower) epoch(ctx context.Context) (string, int64, error) {
	response, err := f.client.Get(ctx, epochKey(f.root))
	if err != nil {
		return "", 0, err
	}
	if len(response.Kvs) == 0 {
		return "", response.Header.Revision, nil
	}
	return string(response.Kvs[0].Value), response.Header.Revision, nil
}

// load makes the view what is in etcd.
func (f *follower) load(ctx context.Context) error {
	key := epochKey(f.root)
	_, err := f.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, uuid.NewString())).Commit()
	if err != nil {
		return err
	}
	epoch, revision, err := f.epoch(ctx)
	if err != nil {
		return err
	}
	f.view.begin(epoch, time.Now())
	end := clientv3.GetPrefixRangeEnd(f.root)
	for from := f.root; ; {
		response, err := f.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
		if err != nil {
			return err
		}
		changes := make([]change, len(response.Kvs))
		for i, kv := range response.Kvs {
			changes[i] = change{key: string(kv.Key), value: kv.Value, revision: kv.ModRevision}
		}
		f.view.read(changes)
		if !response.More {
			f.view.finish(revision, time.Now())
			return nil
		}
		from = changes[len(changes)-1].key + "\x00"
	}
}

// pause waits, and returns false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
