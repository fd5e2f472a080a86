package backup

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	microevents "github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/platform/redis"
)

// header is the first line of a topic's file; each other one is an event.
type header struct {
	Topic  string   `json:"topic"`
	Groups []string `json:"groups"`
}

// dumpTopic writes what a topic had at the instant of the backup.
func dumpTopic(ctx context.Context, s *redis.Stream, t redis.Topic, file string) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	if err := lines.Encode(header{t.Name, t.Groups}); err != nil {
		return err
	}
	err = s.Copy(ctx, t, func(found []*microevents.Event) error {
		for _, e := range found {
			if err := lines.Encode(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("topic %s: %w", t.Name, err)
	}
	return w.Flush()
}

// restoreTopic publishes what a file has. Each group begins with the first event, whatever it had: what it has handled is in
// the inboxes of the same backup. So nobody has to know how far each was at an instant that no database was looked at.
func restoreTopic(ctx context.Context, s *redis.Stream, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := json.NewDecoder(bufio.NewReader(f))
	var h header
	if err := lines.Decode(&h); err != nil {
		return err
	}
	for _, group := range h.Groups { // before there is anything that a group could be too late for
		if err := s.Found(ctx, h.Topic, group); err != nil {
			return fmt.Errorf("topic %s: %w", h.Topic, err)
		}
	}
	var batch []*microevents.Event
	size := 0
	publish := func() error {
		if len(batch) > 0 {
			if _, err := s.PublishBatch(ctx, batch); err != nil {
				return fmt.Errorf("topic %s: %w", h.Topic, err)
			}
		}
		batch, size = nil, 0
		return nil
	}
	for {
		e := new(microevents.Event)
		switch err := lines.Decode(e); {
		case errors.Is(err, io.EOF):
			return publish()
		case err != nil:
			return err
		}
		if n := stream.Size(e); len(batch) == stream.MaxBatch || size+n > stream.MaxBatchBytes {
			if err := publish(); err != nil {
				return err
			}
		}
		batch, size = append(batch, e), size+stream.Size(e)
	}
}
