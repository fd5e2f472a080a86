package kubernetes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	microruntime "github.com/micro/micro/v3/service/runtime"
)

const (
	// defaultLines is how many lines of each pod are read when nobody says.
	defaultLines = 100
	// maxLine is how long a line may be, in bytes.
	maxLine = 1 << 20
)

// Logs reads the last lines of the log of each pod of a service, and what they log from then on if that is wanted. Lines of
// one pod are in order. It follows the pods that there are now; one that is made later is not among them.
func (r *Runtime) Logs(resource microruntime.Resource, opts ...microruntime.LogsOption) (microruntime.LogStream, error) {
	srv, err := serviceOf(resource)
	if err != nil {
		return nil, err
	}
	options := microruntime.LogsOptions{Count: defaultLines}
	for _, o := range opts {
		o(&options)
	}
	var found struct{ Items []pod }
	labels := managedKey + "=" + managedBy + "," + nameKey + "=" + srv.Name
	if err := r.client.list(context.Background(), pods, labels, &found); err != nil {
		return nil, err
	}
	if len(found.Items) == 0 {
		return nil, microruntime.ErrNotFound
	}
	query := "/log?tailLines=" + strconv.FormatInt(options.Count, 10)
	if options.Stream {
		query += "&follow=true"
	}
	s := &logStream{lines: make(chan microruntime.Log)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var reading sync.WaitGroup
	for _, p := range found.Items {
		reading.Go(func() { s.fail(s.read(r.client, p.Metadata.Name, query)) })
	}
	go func() {
		reading.Wait()
		s.cancel()
		close(s.lines)
	}()
	return s, nil
}

// logStream is a microruntime.LogStream.
type logStream struct {
	lines  chan microruntime.Log
	ctx    context.Context //nolint:containedctx // ends with Stop
	cancel context.CancelFunc

	mu  sync.Mutex
	err error
}

// read sends the lines of a pod until there are no more, or until Stop.
func (s *logStream) read(c *client, name, query string) error {
	body, err := c.send(s.ctx, http.MethodGet, c.path(pods, name)+query, "", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		select {
		case s.lines <- microruntime.Log{Message: lines.Text(), Metadata: map[string]string{"pod": name}}:
		case <-s.ctx.Done():
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the log of %s: %w", name, err)
	}
	return nil
}

func (s *logStream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil { // after Stop it is one that nobody wants to know
		s.err = errors.Join(s.err, err)
	}
}

// Chan implements microruntime.LogStream. It is closed at the end.
func (s *logStream) Chan() chan microruntime.Log { return s.lines }

// Error implements microruntime.LogStream.
func (s *logStream) Error() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stop implements microruntime.LogStream.
func (s *logStream) Stop() error {
	s.cancel()
	return nil
}
