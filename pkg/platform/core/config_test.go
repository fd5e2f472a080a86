package core

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	pb "github.com/micro/micro/v3/proto/config"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"
)

// answering is a handler of the configuration with one answer.
type answering struct {
	pb.ConfigHandler
	data string
	err  error
}

func (a answering) Get(_ context.Context, _ *pb.GetRequest, rsp *pb.GetResponse) error {
	if a.err == nil {
		rsp.Value = &pb.Value{Data: a.data}
	}
	return a.err
}

func TestDatabaseOfAService(t *testing.T) {
	t.Parallel()
	broken := errors.New("the store is away")
	nothing := merrors.NotFound("config.Config.Get", "Not found")
	for _, test := range []struct {
		name, path string
		kept       answering
		want       string
		err        error
	}{
		{"nothing was ever configured", "usage.db.address", answering{err: nothing}, `"postgres://host/usage"`, nil},
		{"nothing for it", "usage.db.address", answering{data: "null"}, `"postgres://host/usage"`, nil},
		{"something for it", "usage.db.address", answering{data: `"postgres://other/db"`}, `"postgres://other/db"`, nil},
		{"it cannot be known", "usage.db.address", answering{err: broken}, "", broken},
		{"another key", "usage.db", answering{data: "null"}, "null", nil},
		{"another key that is not there", "micro.db.address.x", answering{err: nothing}, "", nothing},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := &configuration{test.kept, nil, func(service string) string { return "postgres://host/" + service }}
			rsp := new(pb.GetResponse)
			require.Equal(t, test.err, c.Get(t.Context(), &pb.GetRequest{Path: test.path}, rsp))
			require.Equal(t, test.want, rsp.GetValue().GetData())
		})
	}

	files := &configuration{answering{err: nothing}, nil, func(string) string { return "" }}
	require.Equal(t, nothing, files.Get(t.Context(), &pb.GetRequest{Path: "usage.db.address"}, new(pb.GetResponse)))
}

// slow keeps values in one record, as Micro's handler does.
type slow struct {
	pb.ConfigHandler
	record []string
	// reading and writing are told of each change, before and after it has read the record.
	reading, writing chan struct{}
}

func (s *slow) Set(_ context.Context, req *pb.SetRequest, _ *pb.SetResponse) error {
	read := s.record
	s.reading <- struct{}{}
	<-s.writing
	s.record = append(read[:len(read):len(read)], req.Path)
	return nil
}

func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	kept := &slow{reading: make(chan struct{}, 2), writing: make(chan struct{})}
	c := newConfiguration(kept)
	var setting sync.WaitGroup
	set := func(ctx context.Context, path string) error {
		return c.Set(ctx, &pb.SetRequest{Path: path}, new(pb.SetResponse))
	}
	for _, path := range []string{"a", "b"} {
		setting.Go(func() { _ = set(t.Context(), path) })
	}
	<-kept.reading
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	require.EqualValues(t, http.StatusRequestTimeout, merrors.FromError(set(impatient, "c")).Code, "nobody hangs")
	kept.writing <- struct{}{}
	kept.writing <- struct{}{}
	setting.Wait()
	require.ElementsMatch(t, []string{"a", "b"}, kept.record)
}
