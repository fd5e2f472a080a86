package service

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxTiers    = 100
	maxTierName = 64  // characters
	maxPriceID  = 255 // bytes; Stripe's own limit

	maxSigningSecrets = 10
)

var (
	validTierID = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	// validPriceID takes what Stripe makes up (price_...) and what operators have named themselves in Stripe.
	validPriceID = regexp.MustCompile(`^[!-~]*$`)

	validAPIKey        = regexp.MustCompile(`^[sr]k_[A-Za-z0-9_]{1,250}$`)
	validSigningSecret = regexp.MustCompile(`^whsec_[!-~]{1,250}$`)
)

// Settings is what an operator can configure, under micro.billing.
type Settings struct {
	// Currency is that of all prices: an ISO 4217 code in small letters, as Stripe writes them.
	Currency string `json:"currency"`
	// Tiers are the tiers by their ids.
	Tiers map[string]TierSettings `json:"tiers"`
	// Stripe is the account at Stripe; without it nothing can be paid for.
	Stripe StripeSettings `json:"stripe"`
}

// StripeSettings says how to speak to Stripe.
type StripeSettings struct {
	// APIKey is the secret key of the account, sk_... or a restricted one, rk_...
	APIKey string `json:"api_key"`
	// SigningSecrets are those of the webhook's endpoint, whsec_...: two while one replaces the other.
	SigningSecrets []string `json:"signing_secrets"`
	// APIBase is where Stripe is; empty for https://api.stripe.com.
	APIBase string `json:"api_base"`
}

// TierSettings describes one tier.
type TierSettings struct {
	Name         string `json:"name"`
	Price        int64  `json:"price"`         // for a month, in the currency's minor unit
	PriceID      string `json:"price_id"`      // Stripe's; empty for a tier that Stripe knows nothing of
	MonthlyQuota int64  `json:"monthly_quota"` // requests
	RateLimit    int64  `json:"rate_limit"`    // requests per second
}

// DefaultSettings is what holds where nothing is configured.
func DefaultSettings() Settings {
	return Settings{
		Currency: "usd",
		Tiers: map[string]TierSettings{
			"free": {Name: "Free", Price: 0, MonthlyQuota: 10_000, RateLimit: 10},
			"pro":  {Name: "Pro", Price: 35_00, MonthlyQuota: 1_000_000, RateLimit: 100},
			"team": {Name: "Team", Price: 150_00, MonthlyQuota: 10_000_000, RateLimit: 500},
		},
	}
}

// Validate returns an error that names the key that is wrong and says what was expected of it.
func (s Settings) Validate() error {
	if !isCurrency(s.Currency) {
		return errors.New("currency: expected the ISO 4217 code of a currency in small letters, such as usd")
	}
	if n := len(s.Tiers); n == 0 || n > maxTiers {
		return fmt.Errorf("tiers: expected 1 to %d tiers", maxTiers)
	}
	prices := make(map[string]string)
	// In order, so that of several mistakes the same one is reported each time.
	for _, id := range slices.Sorted(maps.Keys(s.Tiers)) {
		if !validTierID.MatchString(id) {
			return fmt.Errorf("tiers.%q: expected an id of 1 to 32 small letters, digits and hyphens, the first a letter", id)
		}
		tier := s.Tiers[id]
		if err := tier.Validate(); err != nil {
			return fmt.Errorf("tiers.%s.%w", id, err)
		}
		if other, ok := prices[tier.PriceID]; ok && tier.PriceID != "" {
			// What Stripe says of a price has to be about one tier.
			return fmt.Errorf("tiers.%s.price_id: expected another price than that of tier %s", id, other)
		}
		prices[tier.PriceID] = id
	}
	if s.Tiers[Free].Price != 0 {
		return errors.New("tiers.free.price: expected 0: everybody is on it who has not subscribed to another")
	}
	return s.Stripe.Validate()
}

// Validate returns an error that names the key that is wrong and says what was expected of it.
func (s StripeSettings) Validate() error {
	if s.APIKey != "" && !validAPIKey.MatchString(s.APIKey) {
		return errors.New("stripe.api_key: expected a secret key of Stripe, which begins with sk_ or rk_")
	}
	if len(s.SigningSecrets) > maxSigningSecrets {
		return fmt.Errorf("stripe.signing_secrets: expected at most %d", maxSigningSecrets)
	}
	for i, secret := range s.SigningSecrets {
		if !validSigningSecret.MatchString(secret) {
			return fmt.Errorf("stripe.signing_secrets[%d]: expected a signing secret of Stripe, which begins with whsec_", i)
		}
	}
	if s.APIBase != "" {
		u, err := url.Parse(s.APIBase)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
			u.RawQuery != "" || u.Fragment != "" {
			return errors.New("stripe.api_base: expected an address without a path, such as https://api.stripe.com")
		}
		if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return errors.New("stripe.api_base: expected https: only what listens on this machine may be spoken to in clear text")
		}
	}
	return nil
}

// Validate returns an error that names the key that is wrong and says what was expected of it.
func (t TierSettings) Validate() error {
	if n := utf8.RuneCountInString(t.Name); n == 0 || n > maxTierName || !utf8.ValidString(t.Name) ||
		strings.TrimSpace(t.Name) != t.Name || strings.ContainsFunc(t.Name, unicode.IsControl) {
		return fmt.Errorf("name: expected 1 to %d characters, no control characters and no space at either end", maxTierName)
	}
	if len(t.PriceID) > maxPriceID || !validPriceID.MatchString(t.PriceID) {
		return fmt.Errorf("price_id: expected at most %d printable ASCII characters without spaces", maxPriceID)
	}
	switch {
	case t.Price < 0:
		return errors.New("price: expected zero or more, in the currency's minor unit")
	case t.MonthlyQuota < 0:
		return errors.New("monthly_quota: expected zero or more requests")
	case t.RateLimit < 0:
		return errors.New("rate_limit: expected zero or more requests per second")
	}
	return nil
}
