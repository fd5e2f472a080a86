package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/client"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	usage "github.com/m3o/backend/usage/proto"
)

const (
	// maxBatch is how many calls usage takes at once.
	maxBatch = 1000
	// sendEvery is how long calls are gathered for before they are handed on.
	sendEvery = 200 * time.Millisecond
	// takeOverEvery is how often it is looked for journals of processes that have died.
	takeOverEvery = 5 * time.Second
	// sendTimeout is how long usage has for a batch, and maxSendPause how long is waited at most before it is sent again.
	sendTimeout  = 10 * time.Second
	maxSendPause = 2 * time.Second
)

// sender hands on what stands in the journal.
type sender struct {
	*Gateway
	ctx   context.Context //nolint:containedctx // the life of what runs in the background
	stop  context.CancelFunc
	ended chan struct{}
}

func startSender(g *Gateway) *sender {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sender{Gateway: g, ctx: ctx, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.run()
	}()
	return s
}

func (s *sender) close() {
	s.stop()
	<-s.ended
}

// wait waits, and returns false when the sender is closed.
func (s *sender) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// run hands on batch after batch, the next at once after a full one.
func (s *sender) run() {
	looked := time.Now()
	for {
		full, err := s.next()
		if err != nil && s.ctx.Err() == nil {
			s.config.Log(logger.ErrorLevel, "Counted calls cannot be handed on, which is tried again: %v", err)
			full = false
		}
		if !full && !s.wait(sendEvery) || s.ctx.Err() != nil {
			return
		}
		if time.Since(looked) > takeOverEvery {
			looked = time.Now()
			if err := s.journal.TakeOver(); err != nil {
				s.config.Log(logger.ErrorLevel, "Journals of processes that have died cannot be taken over: %v", err)
			}
		}
	}
}

// next hands the next batch on, if there is one, and tells whether it was a full one.
func (s *sender) next() (full bool, err error) {
	b, err := s.journal.Next(maxBatch)
	if b == nil {
		s.metrics.oldest.Store(0)
		return false, err
	}
	for _, damaged := range b.Damaged {
		s.metrics.damaged.Add(float64(len(damaged)))
		s.config.Log(logger.ErrorLevel, "%d bytes of the journal of counted calls cannot be read: what a process has begun to write "+
			"when it died, or something is wrong with the disk", len(damaged))
		if err := s.setAside(aside{Batch: b.ID, Damaged: damaged}); err != nil {
			return false, err
		}
	}
	requests := make([]*usage.Request, 0, len(b.Records))
	for _, record := range b.Records {
		r := new(usage.Request)
		if err := proto.Unmarshal(record, r); err != nil { // of another version
			if err := s.setAside(aside{Batch: b.ID, Damaged: record, Reason: "it is no call"}); err != nil {
				return false, err
			}
			s.metrics.setAside.Inc()
			continue
		}
		requests = append(requests, r)
	}
	if len(requests) > 0 {
		s.metrics.oldest.Store(requests[0].Time.AsTime().UnixNano())
		if err := s.send(b.ID, requests); err != nil {
			return false, err
		}
	}
	return len(b.Records) == maxBatch, s.journal.Done(b)
}

// send hands calls on, however long that takes, and sets those aside that are refused. It fails when the sender is closed, or
// when they cannot be set aside.
func (s *sender) send(batch string, requests []*usage.Request) error {
	reported := false
	for pause := sendEvery / 2; ; pause = min(2*pause, maxSendPause) {
		ctx, cancel := context.WithTimeout(s.ctx, sendTimeout)
		rsp, err := s.config.Usage.Record(ctx, &usage.RecordRequest{BatchId: batch, Requests: requests}, client.WithAuthToken())
		cancel()
		if err == nil {
			s.metrics.batches.Inc()
			s.metrics.recorded.Add(float64(rsp.Accepted))
			s.metrics.duplicates.Add(float64(rsp.Duplicates))
			return nil
		}
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if e := merrors.FromError(err); isRefusal(e) {
			return s.split(batch, requests, e)
		}
		s.metrics.failed.Inc()
		if !reported {
			s.config.Log(logger.WarnLevel, "Usage does not take counted calls, which are kept until it does: %v", err)
			reported = true
		}
		if !s.wait(pause) {
			return s.ctx.Err()
		}
	}
}

// isRefusal tells whether usage would refuse the same batch again.
func isRefusal(e *merrors.Error) bool {
	return e.Code == http.StatusBadRequest || e.Code == http.StatusConflict || e.Code == http.StatusRequestEntityTooLarge
}

// split hands on a batch that is refused with times that are not in the future, where that may be the reason; else its halves,
// until it is known which calls are. The halves have names of their own, which are the same whenever the batch is split.
func (s *sender) split(batch string, requests []*usage.Request, refused *merrors.Error) error {
	if limit, ok := s.earlier(requests, refused); ok {
		s.config.Log(logger.WarnLevel, "Usage refuses calls, of which some are counted as made at %v: a clock is or was ahead: %s",
			limit, refused.Detail)
		return s.send(retimed(batch, requests, limit))
	}
	if len(requests) > 1 {
		half := len(requests) / 2
		for i, part := range [][]*usage.Request{requests[:half], requests[half:]} {
			if err := s.send(partOf(batch, i), part); err != nil {
				return err
			}
		}
		return nil
	}
	call, err := protojson.Marshal(requests[0])
	if err != nil {
		return fmt.Errorf("encode a call: %w", err)
	}
	if err := s.setAside(aside{Batch: batch, Call: call, Reason: refused.Detail}); err != nil {
		return err
	}
	s.metrics.setAside.Inc()
	s.config.Log(logger.ErrorLevel, "Usage refuses a call, which is set aside and not counted: %s", refused.Detail)
	return nil
}

const (
	// inFuture is how usage ends what it says of a time that is later than its clock.
	inFuture = "time: must not be in the future"
	// leastBack is how far before the present a time is at least, when usage says of the present that it is in the future, and
	// mostBack how far at most: usage takes nothing that is much older.
	leastBack, mostBack = 5 * time.Minute, 31 * 24 * time.Hour
)

// earlier tells until when the calls of a refused batch are to be, as far as their times may be the reason: until the present
// when this machine's clock was ahead and was set back; and twice as far back each time when it is ahead of that of usage.
func (s *sender) earlier(requests []*usage.Request, refused *merrors.Error) (limit time.Time, ok bool) {
	newest := requests[0].Time.AsTime()
	for _, r := range requests[1:] {
		if at := r.Time.AsTime(); at.After(newest) {
			newest = at
		}
	}
	now, saysSo := s.clock().Truncate(time.Microsecond), strings.HasSuffix(refused.Detail, inFuture) // as exact as usage is
	switch back := now.Sub(newest); {
	case back < 0:
		return now, saysSo || len(requests) == 1
	case back <= mostBack/2:
		return now.Add(-max(2*back, leastBack)), saysSo
	}
	return now, false
}

// retimed returns a batch whose calls were made at a time at the latest. They are the same calls, which keep their ids, and so
// are counted once; the batch is another one, named for that time, since it says something else.
func retimed(batch string, requests []*usage.Request, limit time.Time) (string, []*usage.Request) {
	others := make([]*usage.Request, len(requests))
	for i, r := range requests {
		if others[i] = r; r.Time.AsTime().After(limit) {
			others[i] = proto.CloneOf(r)
			others[i].Time = timestamppb.New(limit)
		}
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s@%d", batch, limit.UnixMicro())).String(), others
}

// partOf is the name of a half of a batch. The name of a batch is 64 characters at most, and a half of a half of a thousand
// has ten more.
func partOf(batch string, half int) string {
	const longest = 64
	name := fmt.Sprintf("%s%c", batch, 'a'+rune(half))
	return name[max(0, len(name)-longest):] // of the first part, which says which process, enough is left
}

// aside is a line of the file of what was set aside.
type aside struct {
	Batch   string          `json:"batch"`
	Reason  string          `json:"reason,omitempty"`
	Call    json.RawMessage `json:"call,omitempty"`
	Damaged []byte          `json:"damaged,omitempty"` // in base64
}

// setAside writes a line for people to look at. Without it nothing that would get lost is passed over.
func (s *sender) setAside(a aside) error {
	line, err := json.Marshal(a)
	if err == nil {
		err = s.journal.SetAside(slices.Clip(line))
	}
	if err != nil {
		return fmt.Errorf("set aside what cannot be handed on: %w", err)
	}
	return nil
}
