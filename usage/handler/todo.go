package handler

import (
	"context"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/usage/proto"
)

var errNotYet = errors.NotFound("", "not built yet")

func (h *Usage) ReadMonthly(context.Context, *pb.ReadMonthlyRequest, *pb.ReadMonthlyResponse) error { return errNotYet }
