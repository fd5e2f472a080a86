package core

import (
	"context"
	"errors"
	"time"

	pb "github.com/micro/micro/v3/proto/events"
	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/events/stream"
	batchpb "github.com/m3o/backend/pkg/events/stream/proto"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/service"
)

// serveEvents makes a service the events service, with the stream of the profile.
func serveEvents(srv *service.Service) error {
	engine, err := profile.OpenStream(profile.Current())
	if err != nil {
		return err
	}
	return ServeEvents(srv, engine)
}

// ServeEvents makes a service the events service: it serves a stream, and closes it when it stops.
func ServeEvents(srv *service.Service, engine profile.Stream) error {
	srv.OnStop(engine.Close)
	srv.Check("stream", engine.Check)
	go func() {
		<-engine.Failed()
		srv.Must(engine.Err()) // whoever keeps it running starts it again
	}()
	batches := stream.NewHandler(engine)
	single := newEventsHandler(engine)
	srv.OnStopping(batches.End)
	srv.OnStopping(single.end)
	return errors.Join(
		batchpb.RegisterBatchHandler(srv.Server(), batches),
		pb.RegisterStreamHandler(srv.Server(), single),
		pb.RegisterStoreHandler(srv.Server(), storeHandler{engine}),
	)
}

// eventsHandler answers Micro's own RPCs of events. What Micro's messages have no place for is in the metadata.
type eventsHandler struct {
	stream stream.Stream
	done   context.Context //nolint:containedctx // ends when the service stops
	end    context.CancelFunc
}

func newEventsHandler(s stream.Stream) *eventsHandler {
	h := &eventsHandler{stream: s}
	h.done, h.end = context.WithCancel(context.Background()) //nolint:gosec // the service calls end when it stops
	return h
}

// Publish implements pb.StreamHandler.
func (h *eventsHandler) Publish(_ context.Context, req *pb.PublishRequest, _ *pb.PublishResponse) error {
	if err := stream.ValidName("topic", req.Topic); err != nil {
		return err
	}
	opts := []events.PublishOption{events.WithMetadata(req.Metadata)}
	if req.Timestamp > 0 {
		opts = append(opts, events.WithTimestamp(time.Unix(req.Timestamp, 0)))
	}
	return stream.ToRPC(h.stream.Publish(req.Topic, req.Payload, opts...))
}

// Consume implements pb.StreamHandler. After the request, the caller sends what has become of events, by their ids.
func (h *eventsHandler) Consume(ctx context.Context, req *pb.ConsumeRequest, rpc pb.Stream_ConsumeStream) error {
	opts, err := consumeOptions(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.done, cancel)()
	in, err := h.stream.Consume(req.Topic, append(opts, events.WithContext(ctx))...)
	if err != nil {
		return stream.ToRPC(err)
	}
	defer func() {
		cancel()
		for range in { // until what was taken is settled
		}
	}()
	open := newUnsettled(unsettledFor * max(time.Duration(req.AckWait), time.Second))
	go func() { // ends with the RPC
		defer cancel()
		for {
			var ack pb.AckRequest
			if rpc.RecvMsg(&ack) != nil {
				return
			}
			if open.settle(ack.Id, ack.Success) != nil {
				return
			}
		}
	}()
	for {
		select {
		case e, ok := <-in:
			if !ok {
				return nil
			}
			if !req.AutoAck {
				open.add(e)
			}
			m := &pb.Event{Id: e.ID, Topic: e.Topic, Metadata: e.Metadata, Payload: e.Payload, Timestamp: e.Timestamp.Unix()}
			if err := rpc.Send(m); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func consumeOptions(req *pb.ConsumeRequest) ([]events.ConsumeOption, error) {
	if err := stream.ValidName("topic", req.Topic); err != nil {
		return nil, err
	}
	var opts []events.ConsumeOption
	if req.Group != "" {
		if err := stream.ValidName("group", req.Group); err != nil {
			return nil, err
		}
		opts = append(opts, events.WithGroup(req.Group))
	}
	if req.Offset > 0 {
		opts = append(opts, events.WithOffset(time.Unix(req.Offset, 0)))
	}
	if !req.AutoAck {
		wait := time.Duration(req.AckWait)
		if wait <= 0 || wait > stream.MaxAckWait {
			return nil, invalidAckWait
		}
		opts = append(opts, events.WithAutoAck(false, wait))
	}
	if req.RetryLimit >= 0 {
		opts = append(opts, events.WithRetryLimit(int(min(req.RetryLimit, 1<<30))))
	}
	return opts, nil
}

// storeHandler answers Micro's RPCs of the events that are kept.
type storeHandler struct{ stream stream.Stream }

// Read implements pb.StoreHandler.
func (h storeHandler) Read(_ context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	if err := stream.ValidName("topic", req.Topic); err != nil {
		return err
	}
	found, err := h.stream.Read(req.Topic, events.ReadLimit(uint(min(req.Limit, stream.MaxBatch))), events.ReadOffset(uint(req.Offset)))
	for _, e := range found {
		rsp.Events = append(rsp.Events, &pb.Event{
			Id: e.ID, Topic: e.Topic, Metadata: e.Metadata, Payload: e.Payload, Timestamp: e.Timestamp.Unix(),
		})
	}
	return stream.ToRPC(err)
}

// Write implements pb.StoreHandler, by refusing as Micro's own handler does.
func (storeHandler) Write(context.Context, *pb.WriteRequest, *pb.WriteResponse) error {
	return errNoWrite
}
