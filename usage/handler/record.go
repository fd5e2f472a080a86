package handler

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/usage/proto"
	"github.com/m3o/backend/usage/service"
)

// Record accepts requests that customers have made.
func (h *Usage) Record(ctx context.Context, req *pb.RecordRequest, rsp *pb.RecordResponse) error {
	requests := make([]service.Request, len(req.Requests))
	for i, r := range req.Requests {
		if err := checkTime(r.Time); err != nil {
			return errors.Within(fmt.Sprintf("requests[%d]", i), err)
		}
		requests[i] = service.Request{
			ID: r.Id, CustomerID: r.CustomerId, APIKeyID: r.ApiKeyId, API: r.ApiName, Endpoint: r.EndpointName, URL: r.Url,
			Price: r.Price, Status: r.Status, Units: r.Units, Time: r.Time.AsTime(),
		}
	}
	recorded, err := h.core.Record(ctx, req.BatchId, requests)
	if err != nil {
		return err
	}
	rsp.Accepted, rsp.Duplicates = int32(recorded.Accepted), int32(recorded.Duplicates)
	return nil
}

// checkTime refuses what is no time: protobuf would take it for another one.
func checkTime(t *timestamppb.Timestamp) error {
	if t == nil {
		return errors.Invalid("time", "required")
	}
	if t.CheckValid() != nil {
		return errors.Invalid("time", "must be in the years 1 to 9999, with nanoseconds from 0 to 999,999,999")
	}
	return nil
}
