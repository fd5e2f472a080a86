package handler

import (
	"context"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/usage/proto"
	"github.com/m3o/backend/usage/service"
)

// SetQuota gives a customer another quota than the tier's, or takes it back.
func (h *Usage) SetQuota(ctx context.Context, req *pb.SetQuotaRequest, rsp *pb.SetQuotaResponse) error {
	override, err := overrideOf(req)
	if err != nil {
		return err
	}
	allowed, err := h.core.SetQuota(ctx, req.CustomerId, override)
	if err != nil {
		return err
	}
	rsp.Tier, rsp.Quota = allowed.Tier, allowed.Quota
	if !allowed.Until.IsZero() {
		rsp.Until = allowed.Until.Unix()
	}
	return nil
}

// overrideOf is what is to be set; nil when it is to be taken back.
func overrideOf(req *pb.SetQuotaRequest) (*service.Override, error) {
	until, err := seconds("until", req.Until)
	if err != nil {
		return nil, err
	}
	switch what := req.What.(type) {
	case *pb.SetQuotaRequest_Quota:
		return &service.Override{Quota: what.Quota, Until: until}, nil
	case *pb.SetQuotaRequest_Clear:
		switch {
		case !what.Clear:
			return nil, errors.Invalid("clear", "must be true, or missing")
		case !until.IsZero():
			return nil, errors.Invalid("until", "must be 0 with clear")
		}
		return nil, nil
	}
	return nil, errors.Invalid("quota", "required, or else clear")
}
