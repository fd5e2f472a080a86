package story

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
)

func (s *story) sell() error {
	s.tell("Somebody has an API to sell, and an operator puts it on the platform and into the catalogue:")
	s.show("$ bin/micro run --sold ./pkg/acceptance/weather")
	out, err := s.client.Run(s.ctx, "run", "--sold", filepath.Join(s.source, "pkg", "acceptance", "weather"))
	if err != nil {
		return fmt.Errorf("micro run: %w: %s", err, strings.TrimSpace(out))
	}
	if _, err := s.call("billing", "Billing.PublishAPI", `{"api_name": "weather", "endpoints": [{"name": "Now", "price": 100}]}`); err != nil {
		return err
	}
	s.tell("Everybody can see what it costs, in millionths of a dollar, and the tiers that can be had:")
	if _, err := s.post(ok, "/billing/ListPrices", `{}`); err != nil {
		return err
	}
	_, err = s.post(ok, "/billing/ListTiers", `{}`)
	return err
}

func (s *story) lookAfter() error {
	s.tell("The operator finds her by the beginning of her address, and sees what she has:")
	answer, err := s.call("customers", "Customers.List", fmt.Sprintf(`{"query": %q, "page_size": 10}`, s.email[:17]))
	if err != nil {
		return err
	}
	if found, _ := answer["customers"].([]any); len(found) != 1 {
		return fmt.Errorf("%d customers were found where 1 was expected", len(found))
	}
	if _, err := s.call("billing", "Billing.ReadAccount", fmt.Sprintf(`{"id": %q}`, s.id)); err != nil {
		return err
	}
	s.tell("A mistake is told by name, and changes nothing:")
	for _, body := range []string{`{"email": "jane@@example.com"}`, `{"email": 5}`, `{"emial": "x"}`} {
		if err := s.refused("customers", "Customers.Create", body, "em"); err != nil {
			return err
		}
	}
	return nil
}

// told is what an analyst sees of her, at least.
var told = []string{
	"customers_EventTypeCreated", "customers_EventTypeVerified", "customers_EventTypeSignup", "customers_EventTypeLogin",
	"customers_EventTypeGenerateKey", "requests_EventTypeRequests", "customers_EventTypeSubscriptionChanged",
}

func (s *story) analyse() error {
	s.tell("Everything that has happened is seen in Mixpanel, once (here a small server stands in for it, at %s):", s.client.Sink)
	var counts map[string]int
	err := s.eventually(func() error {
		events, err := s.client.Forwarded(s.ctx, "", s.id, 1000)
		if err != nil {
			return err
		}
		counts = make(map[string]int)
		for _, e := range events {
			counts[e.Name]++
		}
		for _, name := range told {
			if counts[name] == 0 {
				return fmt.Errorf("%s is not there: %w", name, errNotYet)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range []string{"customers_EventTypeSignup", "customers_EventTypeSubscriptionChanged"} {
		if counts[name] != 1 {
			return fmt.Errorf("%s is there %d times", name, counts[name])
		}
	}
	b, err := json.Marshal(counts)
	s.show(string(b))
	return err
}

func (s *story) ban() error {
	s.tell("The operator bans her: neither her key nor her password opens anything, until the ban is lifted:")
	if _, err := s.call("customers", "Customers.Ban", fmt.Sprintf(`{"id": %q, "reason": "to show it"}`, s.id)); err != nil {
		return err
	}
	if err := s.becomes(s.keyed, keyHeader, http.StatusForbidden, "/v1/weather/Now", `{"place": "Paris"}`); err != nil {
		return err
	}
	login := fmt.Sprintf(`{"email": %q, "password": %q}`, s.email, s.password)
	if _, err := s.post(http.StatusUnauthorized, "/customers/Login", login); err != nil {
		return err
	}
	if _, err := s.call("customers", "Customers.Unban", fmt.Sprintf(`{"id": %q}`, s.id)); err != nil {
		return err
	}
	if err := s.becomes(s.keyed, keyHeader, ok, "/v1/weather/Now", `{"place": "Paris"}`); err != nil {
		return err
	}
	answer, err := s.post(ok, "/customers/Login", login)
	if err != nil {
		return err
	}
	access, err := text(answer, "token", "access_token")
	s.jane = s.client.As(access)
	return err
}
