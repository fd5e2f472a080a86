package stream

import (
	"context"
	stderrors "errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/client"
	merrors "github.com/micro/micro/v3/service/errors"

	pb "github.com/m3o/backend/pkg/events/stream/proto"
	"github.com/m3o/backend/pkg/service/direct"
)

const (
	// maxLanes is how many lanes a client has at most. Who finds none free makes a call.
	maxLanes = 4
	// laneAge is how long a lane is used. The service has looked at the token of its client only when it was opened.
	laneAge = 30 * time.Second
	// often is how soon after another a batch has to be published for a lane to be opened, and for how long none is opened
	// after one has failed.
	often = time.Second
)

// lanes are streams to the events service that are kept open for who publishes often, as a message costs less than a call.
// One has one batch under way at most, and who has taken it receives the answer: nobody reads for others, and no answer can
// be taken for another. A lane is never needed: a batch that one has failed with is published with a call, which knows what
// else can be done.
type lanes struct {
	batch pb.BatchService
	// within is how long the service has to answer, and age how long a lane is used.
	within, age time.Duration

	mu     sync.Mutex
	free   []*lane
	open   int       // how many there are
	called time.Time // when a call was answered last
	failed time.Time // when a lane has failed last
	closed bool
	ending group
}

// lane is one of them. It belongs to whoever has taken it.
type lane struct {
	stream pb.Batch_PublishEachService
	cancel context.CancelFunc
	opened time.Time
	limit  *time.Timer // ends the stream when there is no answer
	retire *time.Timer // ends the lane when it is old and free
}

func newLanes(batch pb.BatchService, within time.Duration) *lanes {
	return &lanes{batch: batch, within: within, age: laneAge}
}

// publish publishes a batch over a lane; false when a call has to, because there is no lane, or because it is not certain what
// has become of the batch.
func (s *lanes) publish(req *pb.PublishRequest) (bool, error) {
	l := s.take()
	if l == nil {
		return false, nil
	}
	onTime, err := l.publish(req, s.within)
	switch {
	case err == nil && onTime:
		s.put(l)
		return true, nil
	case err == nil: // but the stream is ended by now
		s.drop(l, false)
		return true, nil
	case !onTime: // a call that has taken as long is not repeated either
		s.drop(l, true)
		return true, merrors.New(direct.ErrorID, "the call took longer than it was given", http.StatusRequestTimeout)
	}
	answered := isAnswer(err)
	s.drop(l, !answered)
	return answered, err
}

// publish sends a batch and waits for the answer. If that was not on time, the stream has ended.
func (l *lane) publish(req *pb.PublishRequest, within time.Duration) (onTime bool, err error) {
	l.limit.Reset(within)
	if err = l.stream.Send(req); err == nil {
		_, err = l.stream.Recv()
	}
	return l.limit.Stop(), err
}

// isAnswer tells whether an error is what the service says of a batch, and not of the lane or its caller: what those are worth
// by now, a call finds out.
func isAnswer(err error) bool {
	e, ok := stderrors.AsType[*merrors.Error](err)
	if !ok || e.Id == direct.ErrorID || e.Detail == direct.Stopping {
		return false
	}
	switch e.Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return false
	}
	return true
}

// take takes a lane, nil when there is none that is free.
func (s *lanes) take() *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.free)
	if n == 0 {
		return nil
	}
	l := s.free[n-1]
	s.free = s.free[:n-1]
	return l
}

// put gives a lane back.
func (s *lanes) put(l *lane) {
	s.mu.Lock()
	keep := !s.closed && time.Since(l.opened) < s.age
	if keep {
		s.free = append(s.free, l)
	}
	s.mu.Unlock()
	if !keep {
		s.leave(l)
	}
}

// drop forgets a lane whose stream has ended.
func (s *lanes) drop(l *lane, failed bool) {
	l.retire.Stop()
	l.limit.Stop()
	_ = l.stream.Close() // it has ended
	l.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if failed {
		s.failed = time.Now()
	}
}

// leave ends a lane that nobody else has: the service ends the stream, so that it has not been broken off for anybody.
func (s *lanes) leave(l *lane) {
	end := func() {
		l.limit.Reset(farewell)
		if l.stream.Close() == nil {
			_, _ = l.stream.Recv() // io.EOF, or it is not needed any more either way
		}
		s.drop(l, false)
	}
	if !s.ending.begin(end) {
		end()
	}
}

// ifOld ends a lane that has become old, if nobody uses it.
func (s *lanes) ifOld(l *lane) {
	s.mu.Lock()
	i := slices.Index(s.free, l)
	if i >= 0 {
		s.free = slices.Delete(s.free, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		s.leave(l)
	}
}

// answered says that a batch was published with a call. It opens a lane for the next one if they come often.
func (s *lanes) answered() {
	now := time.Now()
	s.mu.Lock()
	wanted := now.Sub(s.called) < often && now.Sub(s.failed) > often && s.open < maxLanes && !s.closed
	s.called = now
	if wanted {
		s.open++
	}
	s.mu.Unlock()
	if !wanted {
		return
	}
	if l := s.dial(now); l != nil {
		s.put(l)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.failed = now
}

// dial opens a lane; nil if that fails.
func (s *lanes) dial(now time.Time) *lane {
	ctx, cancel := context.WithCancel(context.Background())
	l := &lane{cancel: cancel, opened: now, limit: time.AfterFunc(s.within, cancel)}
	var err error
	l.stream, err = s.batch.PublishEach(ctx, client.WithAuthToken(), client.WithStreamTimeout(0))
	onTime := l.limit.Stop()
	if err != nil {
		cancel()
		return nil
	}
	if !onTime { // it has ended already
		_ = l.stream.Close()
		return nil
	}
	l.retire = time.AfterFunc(s.age, func() { s.ifOld(l) })
	return l
}

// close ends all lanes, those in use when they are given back.
func (s *lanes) close() {
	s.mu.Lock()
	s.closed = true
	free := s.free
	s.free = nil
	s.mu.Unlock()
	for _, l := range free {
		s.leave(l)
	}
	s.ending.wait()
}
