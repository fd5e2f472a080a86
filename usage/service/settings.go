package service

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

const (
	// FreeTier is the tier of a customer of whom billing has said nothing.
	FreeTier = "free"
	// MaxQuota is the largest quota. It is far more than anybody calls, and JSON has it as it is.
	MaxQuota = 1_000_000_000_000_000
	maxTiers = 100
)

var validTierID = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Settings is what an operator can configure, under micro.usage.
type Settings struct {
	// Quotas are how many requests of a calendar month, UTC, are let through, by the id of the tier. A tier that is not among
	// them has the quota that billing has said with it.
	Quotas map[string]int64 `json:"quotas"`
}

// DefaultSettings is what holds where nothing is configured.
func DefaultSettings() Settings {
	return Settings{Quotas: map[string]int64{FreeTier: 10_000, "pro": 1_000_000, "team": 10_000_000}}
}

// Validate returns an error that names the key that is wrong and says what was expected of it.
func (s Settings) Validate() error {
	if n := len(s.Quotas); n == 0 || n > maxTiers {
		return fmt.Errorf("quotas: expected those of 1 to %d tiers", maxTiers)
	}
	if _, ok := s.Quotas[FreeTier]; !ok {
		return errors.New("quotas." + FreeTier + ": required, customers begin with it")
	}
	// In order, so that of several mistakes the same one is reported each time.
	for _, id := range slices.Sorted(maps.Keys(s.Quotas)) {
		if !validTierID.MatchString(id) {
			return fmt.Errorf("quotas.%q: expected an id of 1 to 32 small letters, digits and hyphens, the first a letter", id)
		}
		if q := s.Quotas[id]; q < 0 || q > MaxQuota {
			return fmt.Errorf("quotas.%s: expected 0 to %d requests", id, int64(MaxQuota))
		}
	}
	return nil
}
