package acceptance

import (
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/client"
	"github.com/m3o/backend/pkg/service/standintest"
)

// signed makes the header of a webhook as Stripe does.
func signed(secret, body string, at time.Time) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%d.%s", at.Unix(), body) // a hash takes everything
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

// webhook posts a body as Stripe does.
func (p *platform) webhook(t *testing.T, method, body, signature string) (code int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.API+"/billing/webhook", strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	if signature != "" {
		r.Header.Set("Stripe-Signature", signature)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(b)
}

// subscription is what Stripe calls the subscription of a customer, and the customer.
func (p *platform) subscription(t *testing.T, id string) (subscription, customer string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(p.State, "service", "billing", "db.sqlite")+"?mode=ro")
	require.NoError(t, err)
	defer db.Close() //nolint:errcheck // it was read
	require.NoError(t, db.QueryRowContext(t.Context(), `
		SELECT subscription, stripe_customer FROM billing_accounts WHERE customer_id = $1`, id).Scan(&subscription, &customer))
	return subscription, customer
}

// The story of a subscription against Stripe's own stand-in, with webhooks over HTTP as they come.
func TestBillingOverTheWire(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	const secret = "whsec_acceptance"
	for _, set := range [][]string{
		{"micro.billing.stripe.api_base", standintest.Stripe(t)},
		{"--secret", "micro.billing.stripe.api_key", "sk_test_123"},
		{"--secret", "micro.billing.stripe.signing_secrets", `["whsec_former", "` + secret + `"]`},
		{"micro.billing.tiers.free", `{"name": "Free", "monthly_quota": 10, "rate_limit": 1}`},
		{"micro.billing.tiers.pro", `{"name": "Pro", "price": 3500, "price_id": "price_pro", "monthly_quota": 20, "rate_limit": 2}`},
	} {
		out, err := p.Run(t.Context(), append([]string{"config", "set"}, set...)...)
		require.NoError(t, err, out)
	}
	out, err := p.Run(t.Context(), "run", filepath.Join(repository, "billing"))
	require.NoError(t, err, out)
	id := p.customer(t, "jane@example.com")
	jane := p.as(t, client.Customer(id))
	answers(t, jane, "/billing/ReadAccount", `{}`, 30*time.Second)

	post := func(code int, path, body string) map[string]any {
		t.Helper()
		a, err := jane.Post(t.Context(), path, body)
		require.NoError(t, err)
		require.Equal(t, code, a.Code, "%s %s: %s", path, body, a.Body)
		return a.Fields()
	}
	tier := func() any {
		t.Helper()
		account, _ := post(http.StatusOK, "/billing/ReadAccount", `{}`)["account"].(map[string]any)
		return account["tier"]
	}
	require.Equal(t, "free", tier())
	post(http.StatusBadRequest, "/billing/SubscribeTier", `{"id": "pro", "idempotency_key": "1"}`)
	require.Contains(t, post(http.StatusOK, "/billing/SetupCard", `{}`)["client_secret"], "_secret_")
	cards, _ := post(http.StatusOK, "/billing/ListCards", `{}`)["cards"].([]any)
	require.NotEmpty(t, cards)
	card, _ := cards[0].(map[string]any)["id"].(string)
	subscribe := fmt.Sprintf(`{"id": "pro", "card_id": %q, "idempotency_key": "1"}`, card)
	first := post(http.StatusOK, "/billing/SubscribeTier", subscribe)
	require.Equal(t, first, post(http.StatusOK, "/billing/SubscribeTier", subscribe))
	require.Equal(t, "pro", tier())

	// Another customer's card is none.
	joe := p.as(t, client.Customer(p.customer(t, "joe@example.com")))
	for path, body := range map[string]string{
		"/billing/SubscribeTier": fmt.Sprintf(`{"id": "pro", "card_id": %q, "idempotency_key": "1"}`, card),
		"/billing/DeleteCard":    fmt.Sprintf(`{"id": %q}`, card),
	} {
		a, err := joe.Post(t.Context(), path, body)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, a.Code, "%s: %s", path, a.Body)
	}

	now := time.Now()
	subscription, customer := p.subscription(t, id)
	event := func(event string) string {
		return fmt.Sprintf(`{"id": %q, "object": "event", "type": "customer.subscription.deleted", "data": {"object":`+
			` {"id": %q, "customer": %q, "metadata": {"customer_id": %q}}}}`, event, subscription, customer, id)
	}
	for name, tc := range map[string]struct{ method, body, signature string }{
		"forged":        {"POST", event("evt_1"), signed("whsec_other", event("evt_1"), now)},
		"of other body": {"POST", event("evt_1") + " ", signed(secret, event("evt_1"), now)},
		"old":           {"POST", event("evt_1"), signed(secret, event("evt_1"), now.Add(-6*time.Minute))},
		"not signed":    {"POST", event("evt_1"), ""},
		"no event":      {"POST", `{"` + marker + `": `, signed(secret, `{"`+marker+`": `, now)},
		"no UTF-8":      {"POST", "\xff", signed(secret, "\xff", now)},
	} {
		code, answer := p.webhook(t, tc.method, tc.body, tc.signature)
		require.Equal(t, http.StatusBadRequest, code, "%s: %s", name, answer)
		require.NotContains(t, answer, marker)
	}
	code, answer := p.webhook(t, "GET", "", "")
	require.Equal(t, http.StatusMethodNotAllowed, code, answer)
	require.Equal(t, "pro", tier())

	for range 2 { // it is repeated
		code, answer = p.webhook(t, "POST", event("evt_1"), signed(secret, event("evt_1"), now))
		require.Equal(t, http.StatusOK, code, answer)
		require.Equal(t, "free", tier())
	}
	post(http.StatusOK, "/billing/SubscribeTier", strings.ReplaceAll(subscribe, `"1"`, `"2"`))
	code, answer = p.webhook(t, "POST", event("evt_1"), signed("whsec_former", event("evt_1"), now))
	require.Equal(t, http.StatusOK, code, answer)
	require.Equal(t, "pro", tier(), "an event of before has its effect once")
	post(http.StatusOK, "/billing/CancelSubscription", `{}`)
	require.Equal(t, "free", tier())
	post(http.StatusOK, "/billing/DeleteCard", fmt.Sprintf(`{"id": %q}`, card))
	cards, _ = post(http.StatusOK, "/billing/ListCards", `{}`)["cards"].([]any)
	require.Empty(t, cards)
}
