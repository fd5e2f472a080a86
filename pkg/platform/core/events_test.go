package core

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/micro/micro/v3/proto/events"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/events"
	stock "github.com/micro/micro/v3/service/events/client"
	registry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/events/stream/streamtest"
	"github.com/m3o/backend/pkg/platform/jetstream"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// noticed is a stream that tells when somebody consumes.
type noticed struct {
	stream.Stream
	consumes chan struct{}
}

func (n noticed) Consume(topic string, opts ...events.ConsumeOption) (<-chan events.Event, error) {
	ch, err := n.Stream.Consume(topic, opts...)
	select {
	case n.consumes <- struct{}{}:
	default:
	}
	return ch, err
}

// patient is Micro's client, which does not wait until it is served.
type patient struct {
	events.Stream
	consumes <-chan struct{}
}

func (p patient) Consume(topic string, opts ...events.ConsumeOption) (<-chan events.Event, error) {
	ch, err := p.Stream.Consume(topic, opts...)
	select {
	case <-p.consumes:
	case <-time.After(time.Second): // it was refused
	}
	return ch, err
}

// serveStock serves Micro's RPCs of events.
func serveStock(t *testing.T) (*servicetest.Client, noticed) {
	t.Helper()
	engine, err := jetstream.Open(jetstream.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	n := noticed{engine, make(chan struct{}, 10)}
	h := newEventsHandler(n)
	c := servicetest.Serve(t, "events", func(s server.Server) error {
		if err := pb.RegisterStreamHandler(s, h); err != nil {
			return err
		}
		return pb.RegisterStoreHandler(s, storeHandler{engine})
	})
	t.Cleanup(h.end)
	return c.As(servicetest.Service("usage")), n
}

// Micro's own client keeps working. What it fails is its own: what becomes of an error, of a context and of a time smaller
// than a second.
func TestStockClient(t *testing.T) { //nolint:paralleltest // Micro's client calls with a global
	c, engine := serveStock(t)
	before := client.DefaultClient
	client.DefaultClient = c
	t.Cleanup(func() { client.DefaultClient = before })
	failing, err := streamtest.Failing(t.Context(), func() (events.Stream, error) {
		return patient{stock.NewStream(), engine.consumes}, nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{
		"refuses what it cannot publish",
		"keeps the id and the time of the metadata",
		"asks for an AckWait in manual ack mode",
		"begins at an offset in time",
		"closes the channel when the context ends",
		"gives back what a member leaves behind",
	}, failing)

	at := time.Unix(1700000000, 123456789).UTC()
	given := map[string]string{stream.TimeKey: at.Format(time.RFC3339Nano), "key": "value"}
	require.NoError(t, stock.NewStream().Publish("read", []byte("x"), events.WithMetadata(given)))
	for i := range 20 {
		require.NoError(t, stock.NewStream().Publish("read", fmt.Append(nil, i)))
	}
	found, err := stock.NewStore().Read("read")
	require.NoError(t, err)
	require.Len(t, found, 21)
	require.Equal(t, "value", found[0].Metadata["key"])
	require.Equal(t, at.Format(time.RFC3339Nano), found[0].Metadata[stream.TimeKey])
	require.Equal(t, found[0].ID, found[0].Metadata[stream.IDKey])
	kept, err := engine.Read("read", events.ReadLimit(1))
	require.NoError(t, err)
	require.True(t, at.Equal(kept[0].Timestamp))
	found, err = stock.NewStore().Read("read", events.ReadLimit(2), events.ReadOffset(5))
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, "4", string(found[0].Payload))
	require.Error(t, stock.NewStore().Write(&events.Event{Topic: "read"}))
}

func TestStockMistakes(t *testing.T) {
	t.Parallel()
	c, _ := serveStock(t)
	caller := direct.New(direct.Config{
		Registry: registry.NewRegistry(), Fixed: map[string]string{"events": c.Address},
		Credentials: func() (string, string) { return "micro", servicetest.Token(servicetest.Service("usage")) },
	})
	t.Cleanup(func() { require.NoError(t, caller.Close()) })
	rpc := pb.NewStreamService("events", caller)
	_, err := rpc.Publish(t.Context(), &pb.PublishRequest{}, client.WithAuthToken())
	servicetest.RequireError(t, err, 400, "events.Stream.Publish", "topic: expected one")
	_, err = rpc.Publish(t.Context(), &pb.PublishRequest{Topic: "x", Metadata: map[string]string{"id": "7"}}, client.WithAuthToken())
	servicetest.RequireError(t, err, 400, "events.Stream.Publish", "metadata.id: expected a UUID")
	for detail, req := range map[string]*pb.ConsumeRequest{
		"topic: expected one":      {AutoAck: true},
		"group: must be text":      {Topic: "x", Group: "\x01", AutoAck: true},
		"ack_wait: expected nanos": {Topic: "x", Group: "g"},
	} {
		in, err := rpc.Consume(t.Context(), req, client.WithAuthToken())
		require.NoError(t, err)
		_, err = in.Recv()
		servicetest.RequireError(t, err, 400, "events.Stream.Consume", detail)
	}
	_, err = pb.NewStoreService("events", c).Read(t.Context(), &pb.ReadRequest{})
	servicetest.RequireError(t, err, 400, "events.Store.Read", "topic: expected one")
	_, err = pb.NewStoreService("events", c).Write(t.Context(), &pb.WriteRequest{Event: &pb.Event{Id: "x", Topic: "x"}})
	servicetest.RequireError(t, err, 403, "events.Store.Write", "")
	_, err = pb.NewStoreService("events", c.As(servicetest.Admin)).Write(t.Context(), &pb.WriteRequest{Event: &pb.Event{Id: "x", Topic: "x"}})
	servicetest.RequireError(t, err, 501, "events.Store.Write", "an event gets into the store by being published")
}

func TestUnsettled(t *testing.T) {
	t.Parallel()
	u := newUnsettled(time.Hour)
	acked, nacked := 0, 0
	event := func(id string) events.Event {
		e := events.Event{ID: id}
		e.SetAckFunc(func() error { acked++; return nil })
		e.SetNackFunc(func() error { nacked++; return nil })
		return e
	}
	u.add(event("a"))
	u.add(event("b"))
	require.NoError(t, u.settle("a", true))
	require.NoError(t, u.settle("a", true))
	require.NoError(t, u.settle("c", true))
	require.NoError(t, u.settle("b", false))
	require.Equal(t, []int{1, 1}, []int{acked, nacked})

	u.keep = 0 // the past is forgotten, but not what was sent again
	u.add(event("old"))
	u.add(event("old"))
	require.Len(t, u.byID, 1)
	u.add(event("new"))
	require.Len(t, u.byID, 1)
}
