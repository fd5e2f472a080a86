package story

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// keyHeader is how a call with her key is shown.
const keyHeader = ` -H "X-Api-Key: $KEY"`

func (s *story) makeKey() error {
	s.tell("She makes a key for her program. It is shown this once, and kept nowhere:")
	answer, err := s.own(ok, "/customers/Keys/GenerateKey", `{"scopes": ["weather"], "description": "my garden"}`)
	if err != nil {
		return err
	}
	if s.key, err = text(answer, "api_key"); err != nil {
		return err
	}
	if s.keyID, err = text(answer, "api_key_id"); err != nil {
		return err
	}
	s.keyed = s.client.WithKey(s.key)
	_, err = s.own(ok, "/customers/Keys/ListKeys", `{}`)
	return err
}

// firstCalls is how many calls she makes before she looks at the numbers.
const firstCalls = 3

func (s *story) useKey() error {
	s.tell("and her program asks for the weather:")
	// The catalogue may have the API for a moment less than she.
	if err := s.becomes(s.keyed, keyHeader, ok, "/v1/weather/Now", `{"place": "Paris"}`); err != nil {
		return err
	}
	for _, place := range []string{"Oslo", "Lima"} {
		if _, err := s.sold(ok, "/v1/weather/Now", fmt.Sprintf(`{"place": %q}`, place)); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) strayFromKey() error {
	s.tell("Nothing else gets through: no key, another key, what is not sold, and the service itself, past the counter:")
	if _, err := s.post(http.StatusUnauthorized, "/v1/weather/Now", `{"place": "Paris"}`); err != nil {
		return err
	}
	forged := s.client.WithKey(s.key[:len(s.key)-1] + "_")
	if _, err := s.postAs(forged, ` -H "X-Api-Key: $OTHER"`, http.StatusUnauthorized, "/v1/weather/Now", `{"place": "Paris"}`); err != nil {
		return err
	}
	for _, path := range []string{"/v1/weather/Tomorrow", "/v1/customers/List", "/weather/Now"} {
		if _, err := s.sold(http.StatusNotFound, path, `{}`); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) seeUsage() error {
	s.tell("Each answered call was counted, once; she can see it:")
	if err := s.counted(firstCalls); err != nil {
		return err
	}
	_, err := s.own(ok, "/usage/Read", `{"detail": true}`)
	return err
}

// counted waits until her counter shows so many calls, and no other number.
func (s *story) counted(want int) error {
	return s.eventually(func() error {
		a, err := s.jane.Post(s.ctx, "/usage/ReadMonthlyTotal", `{}`)
		if err != nil {
			return err
		}
		got, _ := a.Fields()["requests"].(string) // a 64-bit number is a string in protobuf's JSON
		n, _ := strconv.Atoi(got)
		switch {
		case n == want:
			return nil
		case n > want:
			return fmt.Errorf("%d calls are counted where %d were made", n, want)
		default:
			return fmt.Errorf("%d of %d calls are counted: %w", n, want, errNotYet)
		}
	})
}

// smallQuota is how many calls she may make until she pays.
const smallQuota = 5

func (s *story) runOut() error {
	s.tell("An operator gives her a small quota, so that it is used up soon:")
	if _, err := s.call("usage", "Usage.SetQuota", fmt.Sprintf(`{"customer_id": %q, "quota": %d}`, s.id, smallQuota)); err != nil {
		return err
	}
	s.show(fmt.Sprintf("$ while curl -f %s/v1/weather/Now%s -d '{\"place\": \"Paris\"}'; do sleep .2; done", s.client.API, keyHeader))
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for range slowly(ctx) { // than the tier's rate, which is another thing
		a, err := s.keyed.Post(ctx, "/v1/weather/Now", `{"place": "Paris"}`)
		if err != nil {
			return err
		}
		s.show(string(a.Body))
		switch {
		case a.Code == http.StatusTooManyRequests && strings.Contains(string(a.Body), "the quota of the month is used up"):
			return nil
		case a.Code != ok:
			return fmt.Errorf("a call was answered with %d where 200, or 429 for the quota, were expected: %s", a.Code, a.Body)
		}
	}
	return errors.New("the quota is never used up")
}

// slowly yields five times a second, until the context ends.
func slowly(ctx context.Context) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for yield(struct{}{}) {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}
