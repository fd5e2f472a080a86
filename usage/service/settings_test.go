package service_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/usage/service"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	const anID = "expected an id of 1 to 32 small letters, digits and hyphens, the first a letter"
	with := func(id string, quota int64) service.Settings {
		return service.Settings{Quotas: map[string]int64{"free": 0, id: quota}}
	}
	many := with("pro", 1)
	for i := range 99 {
		many.Quotas[fmt.Sprintf("t%d", i)] = 1
	}
	for name, tc := range map[string]struct {
		settings service.Settings
		want     string
	}{
		"default":        {service.DefaultSettings(), ""},
		"zero":           {with("pro", 0), ""},
		"the largest":    {with("a"+strings.Repeat("-", 31), service.MaxQuota), ""},
		"nothing":        {service.Settings{}, "quotas: expected those of 1 to 100 tiers"},
		"too many":       {many, "quotas: expected those of 1 to 100 tiers"},
		"no free":        {service.Settings{Quotas: map[string]int64{"pro": 5}}, "quotas.free: required, customers begin with it"},
		"negative":       {with("pro", -1), "quotas.pro: expected 0 to 1000000000000000 requests"},
		"too large":      {with("pro", service.MaxQuota+1), "quotas.pro: expected 0 to 1000000000000000 requests"},
		"id, empty":      {with("", 1), `quotas."": ` + anID},
		"id, upper case": {with("Pro", 1), `quotas."Pro": ` + anID},
		"id, too long":   {with(strings.Repeat("a", 33), 1), `quotas."` + strings.Repeat("a", 33) + `": ` + anID},
		"id, two lines":  {with("a\nb", 1), `quotas."a\nb": ` + anID},
	} {
		err := tc.settings.Validate()
		if tc.want == "" {
			require.NoError(t, err, name)
		} else {
			require.EqualError(t, err, tc.want, name)
		}
	}
}
