package handler_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/billing/service"
)

func TestSetupCard(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.SetupCardReturns("seti_1_secret_2", nil)
	rsp, err := pb.NewBillingService("billing", c).SetupCard(t.Context(), &pb.SetupCardRequest{CustomerId: jane})
	require.NoError(t, err)
	require.Equal(t, 1, core.SetupCardCallCount())
	_, id := core.SetupCardArgsForCall(0)
	require.Equal(t, jane, id)
	require.Equal(t, "seti_1_secret_2", rsp.ClientSecret)
}

func TestListCards(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.ListCardsReturns([]service.Card{{ID: "pm_1", Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030}, {ID: "pm_2"}}, nil)
	rsp, err := pb.NewBillingService("billing", c).ListCards(t.Context(), &pb.ListCardsRequest{CustomerId: jane})
	require.NoError(t, err)
	require.Equal(t, 1, core.ListCardsCallCount())
	_, id := core.ListCardsArgsForCall(0)
	require.Equal(t, jane, id)
	require.Len(t, rsp.Cards, 2)
	require.Equal(t, "pm_1", rsp.Cards[0].Id)
	require.Equal(t, "visa", rsp.Cards[0].Brand)
	require.Equal(t, "4242", rsp.Cards[0].Last4)
	require.EqualValues(t, 8, rsp.Cards[0].ExpMonth)
	require.EqualValues(t, 2030, rsp.Cards[0].ExpYear)
}

func TestDeleteCard(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	_, err := pb.NewBillingService("billing", c).DeleteCard(t.Context(), &pb.DeleteCardRequest{CustomerId: jane, Id: "pm_1"})
	require.NoError(t, err)
	require.Equal(t, 1, core.DeleteCardCallCount())
	_, id, card := core.DeleteCardArgsForCall(0)
	require.Equal(t, []string{jane, "pm_1"}, []string{id, card})
}
