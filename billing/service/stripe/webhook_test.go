package stripe_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v72/webhook"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/billing/service/stripe"
	"github.com/m3o/backend/pkg/errors"
)

// sign signs a body as Stripe does.
func sign(body, secret string, at time.Time) string {
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(webhook.ComputeSignature(at, []byte(body), secret)))
}

const good = `{"id": "evt_1", "type": "customer.subscription.updated", "created": 1900000000,
	"data": {"object": {"id": "sub_1", "customer": "cus_1", "metadata": {"customer_id": "jane"}}}}`

func TestSignatures(t *testing.T) {
	t.Parallel()
	const one, two, other = "whsec_one", "whsec_two", "whsec_other"
	s, err := stripe.NewSignatures([]string{one, two})
	require.NoError(t, err)
	now := time.Now()
	for name, tc := range map[string]struct{ body, signature, text string }{
		"signed":                  {good, sign(good, one, now), ""},
		"with the other secret":   {good, sign(good, two, now), ""},
		"with both":               {good, sign(good, other, now) + strings.TrimPrefix(sign(good, two, now), fmt.Sprintf("t=%d", now.Unix())), ""},
		"four minutes ago":        {good, sign(good, one, now.Add(-4*time.Minute)), ""},
		"six minutes ago":         {good, sign(good, one, now.Add(-6*time.Minute)), "must be of the last five minutes"},
		"with a secret of others": {good, sign(good, other, now), "must be the signature"},
		"of another body":         {good + " ", sign(good, one, now), "must be the signature"},
		"of another time":         {good, strings.Replace(sign(good, one, now.Add(-time.Hour)), fmt.Sprint(now.Add(-time.Hour).Unix()), fmt.Sprint(now.Unix()), 1), "must be the signature"},
		"none":                    {good, "", "must be the signature"},
		"no signature at all":     {good, "jane@example.com", "must be the signature"},
		"a time alone":            {good, fmt.Sprintf("t=%d", now.Unix()), "must be the signature"},
		"no time":                 {good, strings.Split(sign(good, one, now), ",")[1], "must be of the last five minutes"},
		"an old scheme":           {good, strings.Replace(sign(good, one, now), "v1=", "v0=", 1), "must be the signature"},
	} {
		e, err := s.Verify([]byte(tc.body), tc.signature)
		if tc.text == "" {
			require.NoError(t, err, name)
			require.Equal(t, service.WebhookEvent{
				ID: "evt_1", Kind: service.WebhookSubscription, CustomerID: "jane", ProvidersCustomer: "cus_1", Subscription: "sub_1",
			}, e, name)
			continue
		}
		require.Equal(t, errors.KindInvalid, errors.KindOf(err), name)
		require.Contains(t, err.Error(), "Stripe-Signature: "+tc.text, name)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s, err := stripe.NewSignatures([]string{"whsec_one"})
	require.NoError(t, err)
	for body, want := range map[string]service.WebhookEvent{
		`{"id": "evt_1", "type": "customer.subscription.deleted", "data": {"object": {"id": "sub_1", "customer": "cus_1", "metadata": {}}}}`:  {ID: "evt_1", Kind: service.WebhookSubscriptionEnd, ProvidersCustomer: "cus_1", Subscription: "sub_1"},
		`{"id": "evt_1", "type": "invoice.payment_failed", "data": {"object": {"id": "in_1", "customer": "cus_1", "subscription": "sub_1"}}}`: {ID: "evt_1", Kind: service.WebhookSubscription, ProvidersCustomer: "cus_1", Subscription: "sub_1"},
		`{"id": "evt_1", "type": "invoice.payment_failed", "data": {"object": {"id": "in_1", "customer": "cus_1", "subscription": null}}}`:    {ID: "evt_1", Kind: service.WebhookSubscription, ProvidersCustomer: "cus_1"},
		`{"id": "evt_1", "type": "setup_intent.succeeded", "data": {"object": {"id": "seti_1", "customer": "cus_1", "payment_method": "pm_1", "metadata": {"customer_id": "jane"}}}}`: {
			ID: "evt_1", Kind: service.WebhookCardAdded, ProvidersCustomer: "cus_1", CustomerID: "jane",
		},
		`{"id": "evt_1", "type": "payment_method.attached", "data": {"object": {"id": "pm_1", "customer": "cus_1"}}}`: {ID: "evt_1", Kind: service.WebhookCardAdded, ProvidersCustomer: "cus_1"},
		`{"id": "evt_1", "type": "payment_method.detached", "data": {"object": {"id": "pm_1", "customer": null}, "previous_attributes": {"customer": "cus_1"}}}`: {
			ID: "evt_1", Kind: service.WebhookCardRemoved, ProvidersCustomer: "cus_1", Card: "pm_1",
		},
		`{"id": "evt_1", "type": "payment_method.detached", "data": {"object": {"id": "pm_1"}, "previous_attributes": {"customer": 5}}}`: {ID: "evt_1", Kind: service.WebhookCardRemoved, Card: "pm_1"},
		`{"id": "evt_1", "type": "of.the.future", "data": {"object": {"id": 5}}}`:                                                        {ID: "evt_1"},
		`{"id": "evt_1", "type": "of.the.future"}`:                                                                                       {ID: "evt_1"},
	} {
		got, err := s.Verify([]byte(body), sign(body, "whsec_one", time.Now()))
		require.NoError(t, err, body)
		require.Equal(t, want, got, body)
	}
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `5`, `{"id": "evt_1"}`, `{"type": "of.the.future"}`, `{"id": 5, "type": "x"}`,
		`{"id": "evt 1", "type": "x"}`, `{"id": "` + strings.Repeat("e", 256) + `", "type": "x"}`,
		`{"id": "evt_1", "type": "customer.subscription.deleted"}`,
		`{"id": "evt_1", "type": "customer.subscription.deleted", "data": {}}`,
		`{"id": "evt_1", "type": "customer.subscription.deleted", "data": {"object": {"id": ""}}}`,
		`{"id": "evt_1", "type": "customer.subscription.deleted", "data": {"object": {"id": "sub_1", "customer": {}}}}`,
		`{"id": "evt_1", "type": "customer.subscription.deleted", "data": 5}`,
	} {
		_, err := s.Verify([]byte(body), sign(body, "whsec_one", time.Now()))
		require.EqualError(t, err, "body: must be an event of Stripe", body)
	}
}

// Whatever is signed is an event or is refused, and whatever is not signed is refused.
func FuzzVerify(f *testing.F) {
	s, err := stripe.NewSignatures([]string{"whsec_one"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, "t=1,v1=ab")
	f.Add(`{"id": "evt_1", "type": "payment_method.detached", "data": {"object": {"id": "pm_1"}, "previous_attributes": {"customer": "cus_1"}}}`, "")
	f.Add(`{"id": "evt_1", "type": "invoice.payment_failed", "data": {"object": null}}`, ",,=")
	f.Fuzz(func(t *testing.T, body, signature string) {
		if _, err := s.Verify([]byte(body), signature); errors.KindOf(err) != errors.KindInvalid {
			t.Fatalf("a signature out of nothing: %v", err)
		}
		e, err := s.Verify([]byte(body), sign(body, "whsec_one", time.Now()))
		switch {
		case err != nil && errors.KindOf(err) != errors.KindInvalid:
			t.Fatal(err)
		case err == nil && (e.ID == "" || len(e.ID) > 255):
			t.Fatalf("an event with the id %q", e.ID)
		case err != nil && len(body) > 20 && strings.Contains(err.Error(), body):
			t.Fatal("what was sent is echoed")
		}
	})
}
