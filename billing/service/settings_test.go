package service_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
)

// one is a configuration of one tier, changed.
func one(change func(*service.TierSettings)) service.Settings {
	tier := service.TierSettings{Name: "One", Price: 100, PriceID: "price_1", MonthlyQuota: 10, RateLimit: 1}
	change(&tier)
	return service.Settings{Currency: "usd", Tiers: map[string]service.TierSettings{"one": tier}}
}

// withStripe is the default with an account at Stripe.
func withStripe(stripe service.StripeSettings) service.Settings {
	s := service.DefaultSettings()
	s.Stripe = stripe
	return s
}

func TestValidSettings(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]service.Settings{
		"default":            service.DefaultSettings(),
		"zero everywhere":    one(func(s *service.TierSettings) { *s = service.TierSettings{Name: "n"} }),
		"the longest name":   one(func(s *service.TierSettings) { s.Name = strings.Repeat("é", 64) }),
		"a price of Stripes": one(func(s *service.TierSettings) { s.PriceID = strings.Repeat("x", 255) }),
		"the longest id": {Currency: "jpy", Tiers: map[string]service.TierSettings{
			"a" + strings.Repeat("-", 30) + "9": {Name: "n"},
		}},
		"stripe": withStripe(service.StripeSettings{
			APIKey: "sk_live_a1B2", SigningSecrets: []string{"whsec_1", "whsec_2"}, APIBase: "https://api.stripe.com",
		}),
		"stripe, restricted and here": withStripe(service.StripeSettings{APIKey: "rk_test_1", APIBase: "http://127.0.0.1:12111/"}),
		"stripe, here by name":        withStripe(service.StripeSettings{APIBase: "http://localhost:12111"}),
		"no price ids":                {Currency: "usd", Tiers: map[string]service.TierSettings{"a": {Name: "A"}, "b": {Name: "B"}}},
	} {
		require.NoError(t, s.Validate(), name)
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	const (
		anID      = "expected an id of 1 to 32 small letters, digits and hyphens, the first a letter"
		aName     = "tiers.one.name: expected 1 to 64 characters, no control characters and no space at either end"
		aPriceID  = "tiers.one.price_id: expected at most 255 printable ASCII characters without spaces"
		anAPIKey  = "stripe.api_key: expected a secret key of Stripe, which begins with sk_ or rk_"
		anAPIBase = "stripe.api_base: expected an address without a path, such as https://api.stripe.com"
		currency  = "currency: expected the ISO 4217 code of a currency in small letters, such as usd"
	)
	withID := func(id string) service.Settings {
		return service.Settings{Currency: "usd", Tiers: map[string]service.TierSettings{id: {Name: "n"}}}
	}
	withCurrency := func(c string) service.Settings {
		s := service.DefaultSettings()
		s.Currency = c
		return s
	}
	many := service.Settings{Currency: "usd", Tiers: map[string]service.TierSettings{}}
	for i := range 101 {
		many.Tiers[fmt.Sprintf("t%d", i)] = service.TierSettings{Name: "n"}
	}
	for name, tc := range map[string]struct {
		settings service.Settings
		want     string
	}{
		"nothing":               {service.Settings{}, currency},
		"no tiers":              {service.Settings{Currency: "usd"}, "tiers: expected 1 to 100 tiers"},
		"too many tiers":        {many, "tiers: expected 1 to 100 tiers"},
		"currency, upper case":  {withCurrency("USD"), currency},
		"currency, none":        {withCurrency("abc"), currency},
		"currency, too long":    {withCurrency("usdeur"), currency},
		"currency, of the list": {withCurrency("d e"), currency},
		"id, empty":             {withID(""), `tiers."": ` + anID},
		"id, upper case":        {withID("Pro"), `tiers."Pro": ` + anID},
		"id, digit first":       {withID("1pro"), `tiers."1pro": ` + anID},
		"id, too long":          {withID(strings.Repeat("a", 33)), `tiers."` + strings.Repeat("a", 33) + `": ` + anID},
		"id, two lines":         {withID("a\nb"), `tiers."a\nb": ` + anID},
		"name, missing":         {one(func(s *service.TierSettings) { s.Name = "" }), aName},
		"name, too long":        {one(func(s *service.TierSettings) { s.Name = strings.Repeat("é", 65) }), aName},
		"name, space":           {one(func(s *service.TierSettings) { s.Name = " n" }), aName},
		"name, control":         {one(func(s *service.TierSettings) { s.Name = "a\tb" }), aName},
		"name, not UTF-8":       {one(func(s *service.TierSettings) { s.Name = "a\xffb" }), aName},
		"price_id, space":       {one(func(s *service.TierSettings) { s.PriceID = "price 1" }), aPriceID},
		"price_id, line":        {one(func(s *service.TierSettings) { s.PriceID = "price_1\n" }), aPriceID},
		"price_id, too long":    {one(func(s *service.TierSettings) { s.PriceID = strings.Repeat("x", 256) }), aPriceID},
		"price_id, twice": {
			service.Settings{Currency: "usd", Tiers: map[string]service.TierSettings{
				"a": {Name: "A", PriceID: "price_1"}, "b": {Name: "B", PriceID: "price_1"},
			}},
			"tiers.b.price_id: expected another price than that of tier a",
		},
		"price, negative": {
			one(func(s *service.TierSettings) { s.Price = -1 }),
			"tiers.one.price: expected zero or more, in the currency's minor unit",
		},
		"quota, negative": {
			one(func(s *service.TierSettings) { s.MonthlyQuota = -1 }),
			"tiers.one.monthly_quota: expected zero or more requests",
		},
		"free, for money": {
			service.Settings{Currency: "usd", Tiers: map[string]service.TierSettings{"free": {Name: "Free", Price: 1}}},
			"tiers.free.price: expected 0: everybody is on it who has not subscribed to another",
		},
		"api_key, publishable": {withStripe(service.StripeSettings{APIKey: "pk_live_1"}), anAPIKey},
		"api_key, two lines":   {withStripe(service.StripeSettings{APIKey: "sk_live_1\n"}), anAPIKey},
		"signing_secrets, other": {
			withStripe(service.StripeSettings{SigningSecrets: []string{"whsec_1", "sk_live_1"}}),
			"stripe.signing_secrets[1]: expected a signing secret of Stripe, which begins with whsec_",
		},
		"signing_secrets, many": {
			withStripe(service.StripeSettings{SigningSecrets: make([]string, 11)}), "stripe.signing_secrets: expected at most 10",
		},
		"api_base, no address":  {withStripe(service.StripeSettings{APIBase: "api.stripe.com"}), anAPIBase},
		"api_base, with a path": {withStripe(service.StripeSettings{APIBase: "https://api.stripe.com/v1"}), anAPIBase},
		"api_base, with a name": {withStripe(service.StripeSettings{APIBase: "https://a:b@api.stripe.com"}), anAPIBase},
		"api_base, in clear text": {
			withStripe(service.StripeSettings{APIBase: "http://api.stripe.com"}),
			"stripe.api_base: expected https: only what listens on this machine may be spoken to in clear text",
		},
		"rate, negative": {
			one(func(s *service.TierSettings) { s.RateLimit = -1 }),
			"tiers.one.rate_limit: expected zero or more requests per second",
		},
	} {
		require.EqualError(t, tc.settings.Validate(), tc.want, name)
	}
}
