package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForbidden(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		test     bool
		wrong    bool
	}{
		{from: "customers", to: "customers/handler"},
		{from: "customers", to: "customers/proto"},
		{from: "customers/handler", to: "customers/proto"},
		{from: "customers/handler", to: "customers/service"},
		{from: "customers/handler", to: "customers/subscriber", wrong: true},
		{from: "customers/handler", to: "customers", wrong: true},
		{from: "customers/service", to: "customers/service/store"},
		{from: "customers/service", to: "pkg/database"},
		{from: "customers/service", to: "customers/proto", wrong: true},
		{from: "customers/service/store", to: "customers/proto", test: true, wrong: true},
		{from: "customers/service", to: "customers/handler", wrong: true},
		{from: "customers/proto", to: "customers/service", wrong: true},
		{from: "customers/proto/fakes", to: "customers/proto"},

		{from: "signup/service", to: "customers/proto"},
		{from: "signup/handler", to: "customers/service", wrong: true},
		{from: "signup/handler", to: "customers/proto/fakes", wrong: true},
		{from: "signup/handler", to: "customers/proto/fakes", test: true},
		{from: "signup/handler", to: "customers/handler", test: true, wrong: true},
		{from: "signup", to: "pkg/service"},
		{from: "signup", to: "pkg/platform/embedded", wrong: true},

		{from: "pkg/service", to: "pkg/platform/supervisor"},
		{from: "pkg/events", to: "customers/proto", wrong: true},
		{from: "pkg/gateway", to: "customers/proto"},
		{from: "pkg/gateway", to: "customers/proto/fakes", wrong: true},
		{from: "pkg/acceptance/demo", to: "customers/proto"},
		{from: "pkg/acceptance/demo", to: "pkg/acceptance/client"},
		{from: "pkg/gateway", to: "pkg/acceptance/client", wrong: true},
		{from: "pkg/bench/story", to: "customers/proto"},
		{from: "pkg/bench/story", to: "customers/service", wrong: true},
		{from: "pkg/bench/customers", to: "customers/service"},
		{from: "pkg/bench/customers", to: "customers/proto/fakes", wrong: true},
		{from: "pkg/bench/customers", to: "usage/service", wrong: true},
		{from: "pkg/bench/story", to: "pkg/acceptance/client"},
		{from: "pkg/bench/database", to: "pkg/bench"},
		{from: "pkg/database", to: "pkg/bench", wrong: true},

		{from: "pkg/events", to: "pkg/database/databasetest", wrong: true},
		{from: "pkg/events", to: "pkg/database/databasetest", test: true},
		{from: "pkg/events/eventstest", to: "pkg/database/databasetest"},

		{from: "scripts/verify", to: "pkg/bench", wrong: true},
		{from: "pkg/service", to: "scripts/arrows", wrong: true},
	} {
		reason := forbidden(module+"/"+c.from, module+"/"+c.to, c.test)
		require.Equal(t, c.wrong, reason != "", "%s -> %s (test %v): %q", c.from, c.to, c.test, reason)
	}
	require.Empty(t, forbidden(module+"/customers", "fmt", false), "what is outside is not ours to judge")
}

func TestCheckNamesBothEnds(t *testing.T) {
	t.Parallel()
	wrong, err := check(strings.NewReader(`
		{"ImportPath": "github.com/m3o/backend/usage/service", "Imports": ["fmt", "github.com/m3o/backend/billing/service"]}
		{"ImportPath": "github.com/m3o/backend/usage/handler", "XTestImports": ["github.com/m3o/backend/billing/proto/fakes"]}`))
	require.NoError(t, err)
	require.Equal(t, []string{"usage/service imports billing/service: " +
		"another domain is reached by its generated client only (billing/proto)"}, wrong)
}
