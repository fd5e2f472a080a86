package service

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type tier struct {
	Name  string `json:"name"`
	Quota int64  `json:"quota"`
}

type billing struct {
	Currency string            `json:"currency"`
	Tiers    map[string]tier   `json:"tiers"`
	Limits   *limits           `json:"limits"`
	Keys     []string          `json:"keys"`
	Every    time.Duration     `json:"every"`
	Listen   netip.AddrPort    `json:"listen"`
	Live     bool              `json:"live"`
	Share    float64           `json:"share"`
	URLs     map[string]string `json:"urls,omitempty"`
	clock    func() time.Time
}

type limits struct {
	Rate uint32 `json:"rate"`
	Step int8   `json:"step"`
}

func (b *billing) Validate() error {
	if b.Currency == "" {
		return errors.New("currency: expected three letters")
	}
	return nil
}

func defaults() billing {
	return billing{
		Currency: "USD", Tiers: map[string]tier{"free": {"Free", 100}},
		Limits: &limits{Rate: 5, Step: 1}, Every: time.Hour, clock: time.Now,
	}
}

func TestConfigOverDefaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want func(*billing)
	}{
		"nothing":    {`null`, func(*billing) {}},
		"empty":      {`{}`, func(*billing) {}},
		"null key":   {`{"currency": null}`, func(*billing) {}},
		"text":       {`{"currency": "EUR"}`, func(b *billing) { b.Currency = "EUR" }},
		"a map":      {`{"tiers": {"pro": {"quota": 1000000}}}`, func(b *billing) { b.Tiers = map[string]tier{"pro": {"", 1_000_000}} }},
		"part":       {`{"limits": {"step": -3}}`, func(b *billing) { b.Limits.Step = -3 }},
		"a list":     {`{"keys": ["a", "b"]}`, func(b *billing) { b.Keys = []string{"a", "b"} }},
		"duration":   {`{"every": "90s"}`, func(b *billing) { b.Every = 90 * time.Second }},
		"parsed":     {`{"listen": "127.0.0.1:80"}`, func(b *billing) { b.Listen = netip.MustParseAddrPort("127.0.0.1:80") }},
		"other ones": {`{"live": true, "share": 0.5}`, func(b *billing) { b.Live, b.Share = true, 0.5 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, want := defaults(), defaults()
			tc.want(&want)
			require.NoError(t, parseConfig("micro.billing", []byte(tc.text), &got))
			got.clock, want.clock = nil, nil
			assert.Equal(t, want, got)
		})
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	const keys = "unknown key: expected one of currency, every, keys, limits, listen, live, share, tiers, urls"
	for text, want := range map[string]string{
		`{"currncy": "EUR"}`:                              "micro.billing.currncy: " + keys,
		`{"clock": "now"}`:                                "micro.billing.clock: " + keys,
		`{"tiers": {"pro": {"quota": "s3cr3t"}}}`:         "micro.billing.tiers.pro.quota: expected a whole number",
		`{"tiers": {"pro": {"quota": 1.5}}}`:              "micro.billing.tiers.pro.quota: expected a whole number",
		`{"tiers": {"pro": {"quota": 1e30}}}`:             "micro.billing.tiers.pro.quota: expected a whole number",
		`{"tiers": {"pro": {"quota": 9007199254740993}}}`: "micro.billing.tiers.pro.quota: expected a whole number",
		`{"tiers": {"pro": {"price": 1}}}`:                "micro.billing.tiers.pro.price: unknown key: expected one of name, quota",
		`{"tiers": {"pro": "s3cr3t"}}`:                    "micro.billing.tiers.pro: expected an object",
		`{"tiers": ["s3cr3t"]}`:                           "micro.billing.tiers: expected an object",
		`{"limits": {"rate": -1}}`:                        "micro.billing.limits.rate: expected a whole number, zero or more",
		`{"limits": {"step": 200}}`:                       "micro.billing.limits.step: expected a whole number",
		`{"keys": "s3cr3t"}`:                              "micro.billing.keys: expected a list",
		`{"keys": ["a", {"s3cr3t": 1}]}`:                  "micro.billing.keys[1]: expected a text",
		`{"currency": {"s3cr3t": 1}}`:                     "micro.billing.currency: expected a text",
		`{"currency": 1.1}`:                               `micro.billing.currency: expected a text (set one that looks like a number, true or false in quotes: '"..."')`,
		`{"every": 5}`:                                    "micro.billing.every: expected a duration such as 90s, 15m or 24h",
		`{"every": "s3cr3t"}`:                             "micro.billing.every: expected a duration such as 90s, 15m or 24h",
		`{"listen": "s3cr3t"}`:                            "micro.billing.listen: expected a addrport",
		`{"live": "s3cr3t"}`:                              "micro.billing.live: expected true or false",
		`{"share": "s3cr3t"}`:                             "micro.billing.share: expected a number",
		`{"currency": ""}`:                                "micro.billing.currency: expected three letters",
		`"s3cr3t"`:                                        "micro.billing: expected an object",
		`s3cr3t`:                                          "micro.billing: expected an object",
		`{} {}`:                                           "micro.billing: expected an object",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			got := defaults()
			err := parseConfig("micro.billing", []byte(text), &got)
			require.EqualError(t, err, want)
		})
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(`{"tiers": {"pro": {"quota": 1}}}`)
	f.Add(`{"keys": [null], "every": "1h"}`)
	f.Fuzz(func(t *testing.T, text string) {
		got := defaults()
		if err := parseConfig("micro.billing", []byte(text), &got); err != nil {
			assert.NotEmpty(t, err.Error())
			assert.Regexp(t, "^micro.billing", err.Error())
		}
	})
}
