package handler

import (
	"context"
	"time"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/usage/proto"
	"github.com/m3o/backend/usage/service"
)

// Read returns what a customer has called in days or months.
func (h *Usage) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	from, err := seconds("from", req.From)
	if err != nil {
		return err
	}
	to, err := seconds("to", req.To)
	if err != nil {
		return err
	}
	report, err := h.core.Read(ctx, service.Query{
		CustomerID: req.CustomerId, Detail: req.Detail, From: from, To: to, Window: req.Window,
	})
	if err != nil {
		return err
	}
	rsp.QuotaRemaining = report.Remaining
	rsp.Usage = make(map[string]*pb.History, len(report.Usage))
	for name, history := range report.Usage {
		records := make([]*pb.UsageRecord, len(history.Records))
		for i, r := range history.Records {
			records[i] = &pb.UsageRecord{Date: r.Begin.Unix(), Requests: r.Requests}
		}
		rsp.Usage[name] = &pb.History{ApiName: history.API, EndpointName: history.Endpoint, Records: records}
	}
	return nil
}

// latest is the end of the year 9999, in seconds since 1970.
const latest = 253_402_300_799

// seconds reads a time in seconds since 1970, of which 0 is none.
func seconds(field string, s int64) (time.Time, error) {
	switch {
	case s < 0 || s > latest:
		return time.Time{}, errors.Invalid(field, "must be from 0 to %d, in seconds since 1970", latest)
	case s == 0:
		return time.Time{}, nil
	}
	return time.Unix(s, 0).UTC(), nil
}
