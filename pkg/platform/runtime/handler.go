package runtime

import (
	"context"
	stderrors "errors"
	"time"

	pb "github.com/micro/micro/v3/proto/runtime"
	microruntime "github.com/micro/micro/v3/service/runtime"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

// handler answers the RPCs of Micro's proto service Runtime. Micro's own tells callers of a mistake of theirs that the
// platform has failed, and publishes events that nobody gets.
type handler struct{ runtime microruntime.Runtime }

// Create runs a service.
func (h handler) Create(ctx context.Context, req *pb.CreateRequest, _ *pb.CreateResponse) error {
	srv, err := h.service(ctx, req.GetResource())
	if err != nil {
		return err
	}
	given := req.GetOptions()
	opts := []microruntime.CreateOption{
		microruntime.WithForce(given.GetForce()),
		microruntime.WithArgs(given.GetArgs()...),
		microruntime.WithEnv(given.GetEnv()),
		microruntime.CreateImage(given.GetImage()),
		microruntime.CreateInstances(int(given.GetInstances())),
	}
	if len(given.GetCommand()) > 0 {
		opts = append(opts, microruntime.WithCommand(given.GetCommand()...))
	}
	for name, value := range given.GetSecrets() {
		opts = append(opts, microruntime.WithSecret(name, value))
	}
	return translate(h.runtime.Create(srv, opts...))
}

// Update puts another binary in the place of a service's.
func (h handler) Update(ctx context.Context, req *pb.UpdateRequest, _ *pb.UpdateResponse) error {
	srv, err := h.service(ctx, req.GetResource())
	if err != nil {
		return err
	}
	return translate(h.runtime.Update(srv))
}

// Delete stops a service and forgets it.
func (h handler) Delete(ctx context.Context, req *pb.DeleteRequest, _ *pb.DeleteResponse) error {
	srv, err := h.service(ctx, req.GetResource())
	if err != nil {
		return err
	}
	return translate(h.runtime.Delete(srv))
}

// Read lists services.
func (h handler) Read(_ context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	found, err := h.runtime.Read(
		microruntime.ReadService(req.GetOptions().GetService()), microruntime.ReadVersion(req.GetOptions().GetVersion()))
	if err != nil {
		return err
	}
	for _, s := range found {
		rsp.Services = append(rsp.Services, &pb.Service{
			Name: s.Name, Version: s.Version, Source: s.Source, Metadata: s.Metadata, Status: int32(s.Status),
		})
	}
	return nil
}

// Logs sends what a service has logged, and what it logs from then on if that is wanted.
func (h handler) Logs(ctx context.Context, req *pb.LogsRequest, stream pb.Runtime_LogsStream) error {
	var opts []microruntime.LogsOption
	if req.Count > 0 {
		opts = append(opts, microruntime.LogsCount(req.Count))
	}
	if req.Stream {
		opts = append(opts, microruntime.LogsStream(true))
	}
	records, err := h.runtime.Logs(&microruntime.Service{Name: req.Service, Version: req.Version}, opts...)
	if err != nil {
		return errors.NotFound("service", "it has no log").WithCause(err)
	}
	defer context.AfterFunc(ctx, func() { _ = records.Stop() })() // it may have ended by itself
	for record := range records.Chan() {
		if err := stream.Send(&pb.LogRecord{Metadata: record.Metadata, Message: record.Message}); err != nil {
			return err
		}
	}
	return records.Error()
}

// service is the service that a request names, and who has asked for it.
func (h handler) service(ctx context.Context, resource *pb.Resource) (*microruntime.Service, error) {
	given := resource.GetService()
	if given == nil {
		return nil, errors.Invalid("resource", "expected a service")
	}
	srv := &microruntime.Service{Name: given.Name, Version: given.Version, Source: given.Source, Metadata: given.Metadata}
	if srv.Metadata == nil {
		srv.Metadata = make(map[string]string)
	}
	srv.Metadata["owner"] = auth.CallerFrom(ctx).ID
	srv.Metadata["started"] = time.Now().UTC().Format(time.RFC3339)
	return srv, nil
}

// translate makes what the runtime refuses an error for the caller.
func translate(err error) error {
	if stderrors.Is(err, microruntime.ErrNotFound) {
		return errors.NotFound("", "%s", microruntime.ErrNotFound)
	}
	return err
}
