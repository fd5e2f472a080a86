package handler

import (
	"context"
	"regexp"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

// aPath is what a path of a mask has to look like to be named in an error.
var aPath = regexp.MustCompile(`^[a-z_][a-z0-9_.]{0,63}$`)

// Update changes the fields of a customer that the mask names.
func (h *Customers) Update(ctx context.Context, req *pb.UpdateRequest, rsp *pb.UpdateResponse) error {
	if req.Customer == nil {
		return errors.Invalid("customer", "required")
	}
	change, err := changeOf(req)
	if err != nil {
		return err
	}
	if err := mayChange(auth.CallerFrom(ctx), change); err != nil {
		return err
	}
	c, err := h.core.Update(ctx, change)
	if err != nil {
		return errors.Within("customer", err)
	}
	rsp.Customer = toProto(c)
	return nil
}

// UpdateName changes the name of a customer.
func (h *Customers) UpdateName(ctx context.Context, req *pb.UpdateNameRequest, rsp *pb.UpdateNameResponse) error {
	c, err := h.core.Update(ctx, service.Change{ID: req.Id, Name: &req.Name})
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}

// changeOf takes from the request what its mask names.
func changeOf(req *pb.UpdateRequest) (service.Change, error) {
	from := req.Customer
	change := service.Change{ID: from.Id, Version: from.Version}
	if len(req.UpdateMask.GetPaths()) == 0 {
		return change, errors.Invalid("update_mask", "must name at least one of name, meta, email and status")
	}
	for _, path := range req.UpdateMask.Paths {
		switch path {
		case "name":
			change.Name = &from.Name
		case "meta":
			change.Meta = &from.Meta
		case "email":
			change.Email = &from.Email
		case "status":
			status := service.Status(from.Status)
			change.Status = &status
		default:
			if aPath.MatchString(path) {
				return change, errors.Invalid("update_mask", "%s cannot be updated: expected name, meta, email or status", path)
			}
			return change, errors.Invalid("update_mask", "expected name, meta, email or status")
		}
	}
	return change, nil
}

// mayChange refuses what only an admin may change: a customer who could would prove any address and lift any ban.
func mayChange(caller auth.Caller, change service.Change) error {
	if caller.Kind == auth.Admin {
		return nil
	}
	switch {
	case change.Email != nil:
		return errors.Forbidden("update_mask: only an admin may change email")
	case change.Status != nil:
		return errors.Forbidden("update_mask: only an admin may change status")
	}
	return nil
}
