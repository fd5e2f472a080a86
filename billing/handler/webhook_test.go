package handler_test

import (
	"errors"
	"testing"

	"github.com/micro/micro/v3/proto/api"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/handler"
	"github.com/m3o/backend/billing/handler/fakes"
	pb "github.com/m3o/backend/billing/proto"
	access "github.com/m3o/backend/pkg/auth"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// The HTTP API learns from the registry that this one takes HTTP as it is, and is for everybody.
func TestWebhookSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	h, err := handler.New(handler.Config{Core: &fakes.FakeCore{}})
	require.NoError(t, err)
	s, err := service.NewServer(grpcserver.NewServer(server.Name("billing")), func(string) (*auth.Account, error) { return nil, auth.ErrInvalidToken })
	require.NoError(t, err)
	served := s.NewHandler(h)
	require.NoError(t, s.Handle(served))
	var raw []string
	for _, e := range served.Endpoints() {
		if e.Metadata[direct.RawKey] != "" {
			raw = append(raw, e.Name+" for "+e.Metadata[access.EndpointKey])
		}
	}
	require.Equal(t, []string{"Billing.Webhook for public"}, raw)
}

// errInside is an error that nobody outside is told of.
var errInside = errors.New("the inside")

func TestWebhook(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	const body = " {\"id\": \"evt_1\",\n\"amount\": 1.10} "
	rsp, err := pb.NewBillingService("billing", c.As(nil)).Webhook(t.Context(), &api.Request{
		Method: "POST", Body: body, Header: map[string]*api.Pair{"stripe-signature": {Values: []string{"t=1,v1=ab"}}},
	})
	require.NoError(t, err)
	require.Equal(t, 1, core.WebhookCallCount())
	_, got, signature := core.WebhookArgsForCall(0)
	require.Equal(t, body, string(got), "every byte is signed")
	require.Equal(t, "t=1,v1=ab", signature)
	require.EqualValues(t, 200, rsp.StatusCode)
	require.Equal(t, "{}", rsp.Body)
	require.Equal(t, []string{"application/json"}, rsp.Header["Content-Type"].Values)
}

func TestWebhookWithoutOneSignature(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.WebhookReturns(kinds.Invalid("Stripe-Signature", "must be the signature"))
	for i, header := range []map[string]*api.Pair{
		nil,
		{"Stripe-Signature": nil},
		{"Stripe-Signature": {Values: []string{"a", "b"}}},
		{"Stripe-Signature": {Values: []string{"a"}}, "stripe-signature": {Values: []string{"b"}}},
		{"Signature": {Values: []string{"a"}}},
	} {
		_, err := pb.NewBillingService("billing", c).Webhook(t.Context(), &api.Request{Method: "POST", Header: header})
		servicetest.RequireError(t, err, 400, "billing.Billing.Webhook", "Stripe-Signature: must be the signature$")
		_, _, signature := core.WebhookArgsForCall(i)
		require.Empty(t, signature)
	}
	n := core.WebhookCallCount()
	_, err := pb.NewBillingService("billing", c).Webhook(t.Context(), &api.Request{Method: "GET"})
	servicetest.RequireError(t, err, 400, "billing.Billing.Webhook", "method: must be POST$")
	require.Equal(t, n, core.WebhookCallCount())
}
