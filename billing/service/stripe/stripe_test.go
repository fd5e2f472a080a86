package stripe_test

import (
	"context"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/billing/service/stripe"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/standintest"
)

func TestNewNeedsAKey(t *testing.T) {
	t.Parallel()
	_, err := stripe.New(stripe.Config{})
	require.EqualError(t, err, "stripe: a key is missing")
	_, err = stripe.NewSignatures(nil)
	require.EqualError(t, err, "stripe: a signing secret is missing")
}

// Everything that we ask Stripe for is good by Stripe's own description of its API.
func TestAgainstTheStandIn(t *testing.T) {
	t.Parallel()
	s, err := stripe.New(stripe.Config{Key: stripe.StandInKey, Base: standintest.Stripe(t)})
	require.NoError(t, err)
	ctx, id := t.Context(), uuid.NewString()
	customer, err := s.CreateCustomer(ctx, id, "customer/"+id)
	require.NoError(t, err)
	require.Regexp(t, `^cus_`, customer)
	secret, err := s.CreateSetup(ctx, customer, id, "setup/1")
	require.NoError(t, err)
	require.Contains(t, secret, "_secret_")
	cards, err := s.Cards(ctx, customer)
	require.NoError(t, err)
	require.NotEmpty(t, cards)
	require.Regexp(t, `^pm_`, cards[0].ID)
	require.Equal(t, "4242", cards[0].Last4)
	require.NotZero(t, cards[0].ExpMonth)
	require.NotZero(t, cards[0].ExpYear)

	sub, err := s.Subscribe(ctx, service.NewSubscription{
		CustomerID: id, ProvidersCustomer: customer, PriceID: "price_pro", Card: cards[0].ID, Operation: "op",
	}, "op/create")
	require.NoError(t, err)
	require.Regexp(t, `^sub_`, sub.ID)
	require.Equal(t, service.Active, sub.Status)
	require.False(t, sub.PeriodEnd.IsZero())
	found, err := s.FindSubscription(ctx, customer, "op")
	require.NoError(t, err)
	require.Empty(t, found.ID, "it remembers nothing")
	for _, f := range []func() (service.Subscription, error){
		func() (service.Subscription, error) {
			return s.ChangeSubscription(ctx, sub.ID, service.SubscriptionChange{PriceID: "price_team", Card: cards[0].ID, Operation: "op"}, "op/change")
		},
		func() (service.Subscription, error) { return s.CancelAtPeriodEnd(ctx, sub.ID, "op/cancel") },
		func() (service.Subscription, error) { return s.Subscription(ctx, sub.ID) },
	} {
		got, err := f()
		require.NoError(t, err)
		require.Equal(t, sub.ID, got.ID)
		require.Equal(t, service.Active, got.Status)
	}
	require.NoError(t, s.CancelSubscription(ctx, sub.ID, "op/end"))
	require.NoError(t, s.DetachCard(ctx, cards[0].ID, "detach"))
}

// recorder is a Stripe that remembers what it is asked and answers as it is told.
type recorder struct {
	mu       sync.Mutex
	requests []*http.Request
	forms    []url.Values
	status   int
	answer   string
	header   http.Header
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = req.ParseForm()
	r.requests, r.forms = append(r.requests, req), append(r.forms, req.Form)
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	_, _ = w.Write([]byte(r.answer))
}

func (r *recorder) last() (*http.Request, url.Values) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[len(r.requests)-1], r.forms[len(r.forms)-1]
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

func recording(t *testing.T, status int, answer string) (*recorder, *stripe.Stripe) {
	t.Helper()
	r := &recorder{status: status, answer: answer}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	s, err := stripe.New(stripe.Config{Key: "sk_test_123", Base: server.URL})
	require.NoError(t, err)
	return r, s
}

// calls are all that change something.
func calls(s *stripe.Stripe) map[string]func(ctx context.Context, key string) error {
	return map[string]func(ctx context.Context, key string) error{
		"customer": func(ctx context.Context, key string) error {
			_, err := s.CreateCustomer(ctx, "jane", key)
			return err
		},
		"delete": func(ctx context.Context, key string) error { return s.DeleteCustomer(ctx, "cus_1", key) },
		"setup": func(ctx context.Context, key string) error {
			_, err := s.CreateSetup(ctx, "cus_1", "jane", key)
			return err
		},
		"detach": func(ctx context.Context, key string) error { return s.DetachCard(ctx, "pm_1", key) },
		"subscribe": func(ctx context.Context, key string) error {
			_, err := s.Subscribe(ctx, service.NewSubscription{CustomerID: "jane", ProvidersCustomer: "cus_1", PriceID: "price_1", Card: "pm_1", Operation: "op"}, key)
			return err
		},
		"change": func(ctx context.Context, key string) error {
			_, err := s.ChangeSubscription(ctx, "sub_1", service.SubscriptionChange{PriceID: "price_1", Card: "pm_1"}, key)
			return err
		},
		"cancel at period end": func(ctx context.Context, key string) error {
			_, err := s.CancelAtPeriodEnd(ctx, "sub_1", key)
			return err
		},
		"cancel": func(ctx context.Context, key string) error { return s.CancelSubscription(ctx, "sub_1", key) },
	}
}

const aSubscription = `{"id": "sub_1", "status": "active", "current_period_end": 1900000000, "cancel_at_period_end": true,
	"metadata": {"operation": "op"}, "items": {"data": [{"id": "si_1", "price": {"id": "price_1"}}]}}`

func TestEveryChangeHasItsKey(t *testing.T) {
	t.Parallel()
	r, s := recording(t, http.StatusOK, aSubscription)
	for name, call := range calls(s) {
		require.NoError(t, call(t.Context(), "key of "+name), name)
		req, _ := r.last()
		require.Equal(t, "key of "+name, req.Header.Get("Idempotency-Key"), name)
		require.Equal(t, "Bearer sk_test_123", req.Header.Get("Authorization"))
		require.Empty(t, req.Header.Get("X-Stripe-Client-Telemetry"))
	}
}

func TestWhatStripeIsAsked(t *testing.T) {
	t.Parallel()
	r, s := recording(t, http.StatusOK, aSubscription)
	want := service.Subscription{
		ID: "sub_1", Status: service.Active, PriceID: "price_1", PeriodEnd: time.Unix(1900000000, 0).UTC(), CancelAtPeriodEnd: true,
	}
	got, err := s.Subscribe(t.Context(), service.NewSubscription{CustomerID: "jane", ProvidersCustomer: "cus_1", PriceID: "price_1", Card: "pm_1", Operation: "op"}, "k")
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, form := r.last()
	require.Equal(t, url.Values{
		"customer": {"cus_1"}, "default_payment_method": {"pm_1"}, "items[0][price]": {"price_1"}, "off_session": {"true"},
		"payment_behavior": {"error_if_incomplete"}, "metadata[customer_id]": {"jane"}, "metadata[operation]": {"op"},
	}, form)
	_, err = s.ChangeSubscription(t.Context(), "sub_1", service.SubscriptionChange{PriceID: "price_2", Card: "pm_2", Operation: "op2"}, "k")
	require.NoError(t, err)
	_, form = r.last()
	require.Equal(t, url.Values{
		"default_payment_method": {"pm_2"}, "items[0][id]": {"si_1"}, "items[0][price]": {"price_2"}, "off_session": {"true"},
		"payment_behavior": {"error_if_incomplete"}, "cancel_at_period_end": {"false"}, "metadata[operation]": {"op2"},
	}, form)
	r.answer = `{"data": [{"id": "sub_0", "status": "active", "metadata": {}}, ` + aSubscription + `]}`
	got, err = s.FindSubscription(t.Context(), "cus_1", "op")
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = s.FindSubscription(t.Context(), "cus_1", "another")
	require.NoError(t, err)
	require.Empty(t, got.ID)
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	r, s := recording(t, http.StatusOK, "")
	for theirs, ours := range map[string]service.Status{
		"active": service.Active, "trialing": service.Active, "past_due": service.PastDue, "incomplete": service.PastDue,
		"unpaid": service.PastDue, "canceled": service.Ended, "incomplete_expired": service.Ended, "of the future": service.PastDue,
	} {
		r.answer = `{"id": "sub_1", "status": "` + theirs + `"}`
		got, err := s.Subscription(t.Context(), "sub_1")
		require.NoError(t, err)
		require.Equal(t, ours, got.Status, theirs)
	}
}

const secret = "jane@example.com"

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
		kind   errors.Kind
		text   string
		once   bool // it is not tried again at once
	}{
		{"declined", 402, `{"type": "card_error", "code": "card_declined", "decline_code": "fraudulent"}`, errors.KindPaymentRequired, "declined", true},
		{"needs its owner", 402, `{"type": "card_error", "code": "authentication_required"}`, errors.KindPaymentRequired, "declined", true},
		{"no such card", 400, `{"type": "invalid_request_error", "code": "resource_missing", "param": "default_payment_method"}`, errors.KindNotFound, "card_id: ", true},
		{"no such subscription", 404, `{"type": "invalid_request_error", "code": "resource_missing", "param": "id"}`, errors.KindNotFound, "subscription: ", true},
		{"no such price", 400, `{"type": "invalid_request_error", "code": "resource_missing", "param": "items[0][price]"}`, errors.KindInternal, "code resource_missing", true},
		{"another call, same key", 400, `{"type": "idempotency_error"}`, errors.KindInternal, "type idempotency_error", true},
		{"same key at once", 409, `{"type": "idempotency_error", "code": "idempotency_key_in_use"}`, errors.KindUnavailable, "does not answer", false},
		{"a wrong key", 401, `{"type": "invalid_request_error"}`, errors.KindUnavailable, "does not answer", true},
		{"a key that may not", 403, `{"type": "invalid_request_error"}`, errors.KindUnavailable, "does not answer", true},
		{"too many", 429, `{"type": "rate_limit_error"}`, errors.KindUnavailable, "does not answer", true},
		{"broken", 500, `{"type": "api_error"}`, errors.KindUnavailable, "does not answer", true},
		{"no JSON", 502, `<html>`, errors.KindUnavailable, "does not answer", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			body := tc.body
			if strings.HasPrefix(body, "{") {
				body = fmt.Sprintf(`{"error": %s}`, strings.TrimSuffix(tc.body, "}")+`, "message": "No such `+secret+`"}`)
			}
			r, s := recording(t, tc.status, body)
			_, err := s.Subscribe(t.Context(), service.NewSubscription{CustomerID: "jane", ProvidersCustomer: "cus_1", PriceID: "p", Card: "pm_1"}, "k")
			require.Equal(t, tc.kind, errors.KindOf(err), "%v", err)
			require.Contains(t, err.Error(), tc.text)
			requireNothingSaid(t, err)
			require.Equal(t, tc.status == 401 || tc.status == 403, stderrors.Is(err, service.ErrNoAccess))
			if tc.once {
				require.Equal(t, 1, r.count())
			} else {
				require.Equal(t, 3, r.count())
			}
		})
	}
}

// requireNothingSaid requires that an error repeats nothing of what Stripe has said in words, its cause included.
func requireNothingSaid(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = unwrap(err) {
		require.NotContains(t, err.Error(), secret)
	}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// What never arrives may have been done.
func TestStripeIsAway(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	s, err := stripe.New(stripe.Config{Key: "sk_test_123", Base: server.URL})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for name, call := range calls(s) {
		require.Equal(t, errors.KindUnavailable, errors.KindOf(call(ctx, "k")), name)
	}
	_, err = s.Cards(ctx, "cus_1")
	require.Equal(t, errors.KindUnavailable, errors.KindOf(err))
}

// A card that nobody has need not be taken from anybody.
func TestDetachTwice(t *testing.T) {
	t.Parallel()
	for status, body := range map[int]string{
		400: `{"error": {"type": "invalid_request_error", "message": "not attached to a customer"}}`,
		404: `{"error": {"type": "invalid_request_error", "code": "resource_missing", "param": "payment_method"}}`,
	} {
		_, s := recording(t, status, body)
		assert.NoError(t, s.DetachCard(t.Context(), "pm_1", "k"))
	}
	_, s := recording(t, 401, `{"error": {"type": "invalid_request_error"}}`)
	require.Error(t, s.DetachCard(t.Context(), "pm_1", "k"))
}

func TestDeleteCustomerTwice(t *testing.T) {
	t.Parallel()
	_, s := recording(t, 404, `{"error": {"type": "invalid_request_error", "code": "resource_missing", "param": "id"}}`)
	require.NoError(t, s.DeleteCustomer(t.Context(), "cus_1", "k"))
	_, s = recording(t, 401, `{"error": {"type": "invalid_request_error"}}`)
	require.Error(t, s.DeleteCustomer(t.Context(), "cus_1", "k"))
}

func TestOnlyCards(t *testing.T) {
	t.Parallel()
	r, s := recording(t, 200, `{"data": [{"id": "pm_1", "card": {"brand": "visa", "last4": "4242", "exp_month": 8, "exp_year": 2030}}, {"id": "pm_2"}], "has_more": true}`)
	cards, err := s.Cards(t.Context(), "cus_1")
	require.NoError(t, err)
	require.Equal(t, []service.Card{{ID: "pm_1", Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030}}, cards)
	require.Equal(t, 1, r.count(), "100 are enough")
	_, form := r.last()
	require.Equal(t, url.Values{"customer": {"cus_1"}, "type": {"card"}, "limit": {"100"}}, form)
	require.True(t, json.Valid([]byte(r.answer)))
}
