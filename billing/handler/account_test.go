package handler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// jane is a customer, and other is another one.
const (
	jane  = "01900000-0000-7000-8000-000000000001"
	other = "01900000-0000-7000-8000-000000000002"
)

// account is one that says everything.
var account = service.Account{
	CustomerID: jane, Tier: "pro", Status: service.PastDue, PeriodEnd: time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC), CancelAtPeriodEnd: true,
}

func requireAccount(t *testing.T, got *pb.Account) {
	t.Helper()
	require.Equal(t, jane, got.CustomerId)
	require.Equal(t, "pro", got.Tier)
	require.Equal(t, "past_due", got.Status)
	require.Equal(t, account.PeriodEnd, got.CurrentPeriodEnd.AsTime())
	require.True(t, got.CancelAtPeriodEnd)
}

func TestReadAccount(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.ReadAccountReturns(account, nil)
	rsp, err := pb.NewBillingService("billing", c).ReadAccount(t.Context(), &pb.ReadAccountRequest{Id: jane})
	require.NoError(t, err)
	require.Equal(t, 1, core.ReadAccountCallCount())
	_, id := core.ReadAccountArgsForCall(0)
	require.Equal(t, jane, id)
	requireAccount(t, rsp.Account)

	core.ReadAccountReturns(service.Account{CustomerID: jane, Tier: "free", Status: service.None}, nil)
	answer, err := c.As(servicetest.Customer(jane)).JSON(t.Context(), "Billing.ReadAccount", `{}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"account": {"customer_id": "`+jane+`", "tier": "free", "status": "none", "current_period_end": null, "cancel_at_period_end": false}}`, answer)
	_, id = core.ReadAccountArgsForCall(1)
	require.Equal(t, jane, id, "a customer need not say who they are")
}

func TestSubscribeTier(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.SubscribeTierReturns(account, nil)
	rsp, err := pb.NewBillingService("billing", c.As(servicetest.Customer(jane))).SubscribeTier(t.Context(), &pb.SubscribeTierRequest{
		Id: "pro", CardId: "pm_1", IdempotencyKey: "k",
	})
	require.NoError(t, err)
	require.Equal(t, 1, core.SubscribeTierCallCount())
	_, s := core.SubscribeTierArgsForCall(0)
	require.Equal(t, service.Subscribe{CustomerID: jane, Tier: "pro", Card: "pm_1", Key: "k"}, s)
	requireAccount(t, rsp.Account)

	core.SubscribeTierReturns(service.Account{}, errors.PaymentRequired("the card was declined").WithCause(errors.NotFound("", "inside")))
	_, err = c.JSON(t.Context(), "Billing.SubscribeTier", `{"id": "pro"}`)
	servicetest.RequireError(t, err, 402, "billing.Billing.SubscribeTier", "the card was declined$")
}

func TestCancelSubscription(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.CancelSubscriptionReturns(account, nil)
	rsp, err := pb.NewBillingService("billing", c).CancelSubscription(t.Context(), &pb.CancelSubscriptionRequest{CustomerId: jane, AtPeriodEnd: true})
	require.NoError(t, err)
	require.Equal(t, 1, core.CancelSubscriptionCallCount())
	_, id, atPeriodEnd := core.CancelSubscriptionArgsForCall(0)
	require.Equal(t, jane, id)
	require.True(t, atPeriodEnd)
	requireAccount(t, rsp.Account)
}

// What the core refuses goes out as it is, and what it does not explain is not explained.
func TestErrorsOfTheCore(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	fail := func(err error) {
		core.ReadAccountReturns(account, err)
		core.SubscribeTierReturns(account, err)
		core.CancelSubscriptionReturns(account, err)
		core.SetupCardReturns("seti_secret", err)
		core.ListCardsReturns([]service.Card{{ID: "pm_1"}}, err)
		core.DeleteCardReturns(err)
		core.PublishAPIReturns(err)
		core.PricesReturns([]service.Price{{API: "weather"}}, err)
		core.WebhookReturns(err)
	}
	for _, method := range []string{
		"ReadAccount", "SubscribeTier", "CancelSubscription", "SetupCard", "ListCards", "DeleteCard", "PublishAPI", "ListPrices", "Webhook",
	} {
		endpoint, body := "billing.Billing."+method, `{}`
		if method == "Webhook" {
			body = `{"method": "POST"}`
		}
		fail(errors.Conflict("id", "does not fit"))
		answer, err := c.JSON(t.Context(), "Billing."+method, body)
		servicetest.RequireError(t, err, 409, endpoint, "id: does not fit$")
		require.Empty(t, answer)
		fail(errInside)
		_, err = c.JSON(t.Context(), "Billing."+method, body)
		servicetest.RequireError(t, err, 500, endpoint, "internal error, reference [0-9a-f]+$")
	}
}

// Of somebody else nothing is told and nothing is changed.
func TestOnlyAboutThemself(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for method, field := range map[string]string{
		"ReadAccount": "id", "SubscribeTier": "customer_id", "CancelSubscription": "customer_id", "SetupCard": "customer_id",
		"ListCards": "customer_id", "DeleteCard": "customer_id",
	} {
		body := `{"` + field + `": "` + jane + `"}`
		_, err := c.As(servicetest.Customer(other)).JSON(t.Context(), "Billing."+method, body)
		servicetest.RequireError(t, err, 403, "billing.Billing."+method, field)
		_, err = c.As(nil).JSON(t.Context(), "Billing."+method, body)
		servicetest.RequireError(t, err, 401, "billing.Billing."+method, "")
		_, err = c.As(servicetest.Service("usage")).JSON(t.Context(), "Billing."+method, body)
		servicetest.RequireError(t, err, 403, "billing.Billing."+method, "")
	}
	_, err := c.As(servicetest.Customer(jane)).JSON(t.Context(), "Billing.PublishAPI", `{"api_name": "weather"}`)
	servicetest.RequireError(t, err, 403, "billing.Billing.PublishAPI", "")
	require.Empty(t, core.Invocations())
}
