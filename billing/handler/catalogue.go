package handler

import (
	"context"

	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/billing/service"
)

// PublishAPI puts an API into the catalogue, or takes it out.
func (h *Billing) PublishAPI(ctx context.Context, req *pb.PublishAPIRequest, _ *pb.PublishAPIResponse) error {
	endpoints := make([]service.Endpoint, len(req.Endpoints))
	for i, e := range req.Endpoints {
		endpoints[i] = service.Endpoint{Name: e.Name, Price: e.Price}
	}
	return h.core.PublishAPI(ctx, req.ApiName, endpoints)
}

// ListPrices returns the catalogue.
func (h *Billing) ListPrices(ctx context.Context, _ *pb.ListPricesRequest, rsp *pb.ListPricesResponse) error {
	prices, err := h.core.Prices(ctx)
	if err != nil {
		return err
	}
	rsp.Prices = make([]*pb.Price, len(prices))
	for i, p := range prices {
		rsp.Prices[i] = &pb.Price{ApiName: p.API, EndpointName: p.Endpoint, Price: p.Price}
	}
	return nil
}
