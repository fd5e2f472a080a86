package handler_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// updateRequest asks to update the fields that the paths name.
func updateRequest(paths ...string) *pb.UpdateRequest {
	return &pb.UpdateRequest{
		Customer: &pb.Customer{
			Id: id, Version: 3, Name: "Joan", Meta: map[string]string{"c": "d"}, Email: "joan@example.com", Status: "banned",
			Created: 1, Updated: 2, // not in a mask, and so not looked at
		},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
	}
}

// Only what the mask names is changed, to whatever it is, empty too.
func TestUpdate(t *testing.T) {
	t.Parallel()
	meta := map[string]string{"c": "d"}
	for name, tc := range map[string]struct {
		req  *pb.UpdateRequest
		want service.Change
	}{
		"name":   {updateRequest("name"), service.Change{Name: new("Joan")}},
		"meta":   {updateRequest("meta"), service.Change{Meta: &meta}},
		"email":  {updateRequest("email"), service.Change{Email: new("joan@example.com")}},
		"status": {updateRequest("status"), service.Change{Status: new(service.Banned)}},
		"all, and one twice": {
			updateRequest("status", "meta", "name", "email", "name"),
			service.Change{Name: new("Joan"), Meta: &meta, Email: new("joan@example.com"), Status: new(service.Banned)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			e.core.UpdateReturns(jane, nil)
			rsp, err := e.Update(t.Context(), tc.req)
			require.NoError(t, err)
			requireProto(t, proto, rsp.Customer)
			require.Equal(t, 1, e.calls())
			_, got := e.core.UpdateArgsForCall(0)
			tc.want.ID, tc.want.Version = id, 3
			assert.Equal(t, tc.want, got)
		})
	}
	t.Run("to nothing", func(t *testing.T) {
		t.Parallel()
		e := setup(t)
		_, err := e.raw.JSON(t.Context(), "Customers.Update", `{"customer": {"id": "`+id+`"}, "update_mask": "name,meta"}`)
		require.NoError(t, err)
		_, got := e.core.UpdateArgsForCall(0)
		assert.Equal(t, service.Change{ID: id, Name: new(""), Meta: new(map[string]string)}, got)
	})
}

// A name is changed by the customer, who means themself by nothing, and to nothing as well.
func TestUpdateName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Joan", ""} {
		e := setup(t)
		e.core.UpdateReturns(jane, nil)
		rsp, err := pb.NewCustomersService("customers", e.raw.As(servicetest.Customer(id))).UpdateName(t.Context(), &pb.UpdateNameRequest{Name: name})
		require.NoError(t, err)
		requireProto(t, proto, rsp.Customer)
		require.Equal(t, 1, e.calls())
		_, got := e.core.UpdateArgsForCall(0)
		assert.Equal(t, service.Change{ID: id, Name: &name}, got)
	}
}

// What proves an address or lifts a ban is an admin's; the rest is the customer's own.
func TestUpdateByACustomer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		paths   []string
		refused string
	}{
		{[]string{"name"}, ""},
		{[]string{"meta", "name"}, ""},
		{[]string{"email"}, "update_mask: only an admin may change email$"},
		{[]string{"status"}, "update_mask: only an admin may change status$"},
		{[]string{"name", "status"}, "update_mask: only an admin may change status$"},
	} {
		e := setup(t)
		e.core.UpdateReturns(jane, nil)
		_, err := pb.NewCustomersService("customers", e.raw.As(servicetest.Customer(id))).Update(t.Context(), updateRequest(tc.paths...))
		if tc.refused != "" {
			servicetest.RequireError(t, err, 403, "customers.Customers.Update", tc.refused)
			require.Zero(t, e.calls())
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, e.calls())
	}
}
