package core

import (
	"context"
	"strings"

	pb "github.com/micro/micro/v3/proto/store"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/postgres"
)

// records is Micro's handler of the store, which says when what it keeps things in is away.
type records struct{ pb.StoreHandler }

// Read implements pb.StoreHandler.
func (r records) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	return unreachable(r.StoreHandler.Read(ctx, req, rsp))
}

// Write implements pb.StoreHandler.
func (r records) Write(ctx context.Context, req *pb.WriteRequest, rsp *pb.WriteResponse) error {
	return unreachable(r.StoreHandler.Write(ctx, req, rsp))
}

// Delete implements pb.StoreHandler.
func (r records) Delete(ctx context.Context, req *pb.DeleteRequest, rsp *pb.DeleteResponse) error {
	return unreachable(r.StoreHandler.Delete(ctx, req, rsp))
}

// List implements pb.StoreHandler.
func (r records) List(ctx context.Context, req *pb.ListRequest, stream pb.Store_ListStream) error {
	return unreachable(r.StoreHandler.List(ctx, req, stream))
}

// unreachable makes 503 of what Micro's handlers make of a store that cannot be reached, which is 400 or 500, with addresses
// in its text. They keep nothing of the error but that.
func unreachable(err error) error {
	if err == nil || !strings.Contains(err.Error(), postgres.Failure) {
		return err
	}
	return kinds.Unavailable("what is kept cannot be read or changed at the moment: try again").WithCause(err)
}
