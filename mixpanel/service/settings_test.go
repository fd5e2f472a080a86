package service_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
)

// settings are the default ones, changed.
func settings(change func(*service.Settings)) service.Settings {
	s := service.DefaultSettings()
	change(&s)
	return s
}

func TestValidSettings(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*service.Settings){
		"default":       func(*service.Settings) {},
		"a token":       func(s *service.Settings) { s.Token = strings.Repeat("a", 128) },
		"an old secret": func(s *service.Settings) { s.APISecret = "se:cr!et" },
		"a service account": func(s *service.Settings) {
			s.ServiceAccount = service.ServiceAccount{User: "u.1", Secret: "s:"}
			s.ProjectID = 1
		},
		"the EU":       func(s *service.Settings) { s.APIBase = "https://api-eu.mixpanel.com/" },
		"this machine": func(s *service.Settings) { s.APIBase = "http://[::1]:80" },
		"by its name":  func(s *service.Settings) { s.APIBase = "http://localhost:80" },
		"one topic":    func(s *service.Settings) { s.Topics = []string{"a-1"} },
		"ignored": func(s *service.Settings) {
			s.Ignore = []string{"customers_EventTypeTokenRefresh", strings.Repeat("x", 255)}
		},
		"one at a time": func(s *service.Settings) { s.BatchSize = 1 },
	} {
		require.NoError(t, settings(change).Validate(), name)
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	const (
		aSecret = "expected 1 to 256 printable ASCII characters without spaces"
		aBase   = "api_base: expected https:// and a host, such as https://api-eu.mixpanel.com (http:// on this machine only)"
		aTopic  = "expected the name of a topic, 1 to 64 small letters, digits and hyphens, each once"
		aName   = "ignore.0: expected the name of an event, such as customers_EventTypeTokenRefresh"
		aBatch  = "batch_size: expected a number from 1 to 2000"
		noTopic = "topics: expected 1 to 100 topics"
	)
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint("t", i)
	}
	account := func(user, secret string) func(*service.Settings) {
		return func(s *service.Settings) {
			s.ServiceAccount, s.ProjectID = service.ServiceAccount{User: user, Secret: secret}, 1
		}
	}
	for name, tc := range map[string]struct {
		change func(*service.Settings)
		want   string
	}{
		"token":               {func(s *service.Settings) { s.Token = "a b" }, "token: expected 1 to 128 letters and digits"},
		"secret":              {func(s *service.Settings) { s.APISecret = "a b" }, "api_secret: " + aSecret},
		"user":                {account("a b", "s"), "service_account.user: " + aSecret},
		"user with a colon":   {account("a:b", "s"), "service_account.user: expected a name without a colon"},
		"secret of a user":    {account("u", strings.Repeat("s", 257)), "service_account.secret: " + aSecret},
		"no user":             {account("", "s"), "service_account.user: expected the name that the secret belongs to"},
		"no secret":           {account("u", ""), "service_account.secret: expected the secret of the user"},
		"no project":          {func(s *service.Settings) { account("u", "s")(s); s.ProjectID = 0 }, "project_id: expected the number of the project that the service_account is for"},
		"a project":           {func(s *service.Settings) { s.ProjectID = -1 }, "project_id: expected a number above 0"},
		"two secrets":         {func(s *service.Settings) { account("u", "s")(s); s.APISecret = "s" }, "api_secret: expected nothing beside a service_account"},
		"no base":             {func(s *service.Settings) { s.APIBase = "" }, aBase},
		"in plain":            {func(s *service.Settings) { s.APIBase = "http://api.mixpanel.com" }, aBase},
		"another scheme":      {func(s *service.Settings) { s.APIBase = "ftp://127.0.0.1" }, aBase},
		"a base with a path":  {func(s *service.Settings) { s.APIBase = "https://api.mixpanel.com/import" }, aBase},
		"a base with a query": {func(s *service.Settings) { s.APIBase = "https://api.mixpanel.com?a=b" }, aBase},
		"a base with a user":  {func(s *service.Settings) { s.APIBase = "https://u:p@api.mixpanel.com" }, aBase},
		"no URL":              {func(s *service.Settings) { s.APIBase = "https://[" }, aBase},
		"no topics":           {func(s *service.Settings) { s.Topics = nil }, noTopic},
		"too many topics":     {func(s *service.Settings) { s.Topics = many }, noTopic},
		"a topic":             {func(s *service.Settings) { s.Topics = []string{"a", "B"} }, "topics.1: " + aTopic},
		"a topic twice":       {func(s *service.Settings) { s.Topics = []string{"a", "a"} }, "topics.1: " + aTopic},
		"an ignored name":     {func(s *service.Settings) { s.Ignore = []string{"a b"} }, aName},
		"too many ignored":    {func(s *service.Settings) { s.Ignore = many }, "ignore: expected at most 1000 names"},
		"no batch":            {func(s *service.Settings) { s.BatchSize = 0 }, aBatch},
		"too large a batch":   {func(s *service.Settings) { s.BatchSize = 2001 }, aBatch},
	} {
		err := settings(tc.change).Validate()
		require.EqualError(t, err, tc.want, name)
	}
}
