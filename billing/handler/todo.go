package handler

import (
	"context"

	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/pkg/errors"
)

var errNotYet = errors.NotFound("", "not built yet")

func (h *Billing) PublishAPI(context.Context, *pb.PublishAPIRequest, *pb.PublishAPIResponse) error { return errNotYet }
func (h *Billing) ListPrices(context.Context, *pb.ListPricesRequest, *pb.ListPricesResponse) error { return errNotYet }
