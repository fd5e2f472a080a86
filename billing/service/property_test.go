package service_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/billing/service"
)

// Whatever is asked in whatever order, and whatever is lost on the way or on the way back: there is never more than one
// subscription; what is published is a chain that ends at the tier that the account has; and when all is well again, the
// account and the provider say the same.
func TestOperationsUnderFaults(t *testing.T) {
	t.Parallel()
	s := setup(t)
	rapid.Check(t, func(t *rapid.T) {
		s.outbox.take()
		id, card := s.customer()
		other := s.bank.addCard(id)
		rate := rapid.Float64Range(0, 0.7).Draw(t, "faults")
		source := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		s.bank.fault = func(string, string) (bool, bool) { return source.Float64() < rate, source.Float64() < rate }
		step := 0
		published := "free"
		check := func() {
			if n := len(s.bank.live(id)); n > 1 {
				t.Fatalf("%d subscriptions", n)
			}
			for _, change := range s.changes() {
				from, to, _ := strings.Cut(change, ">")
				if from != published || from == to {
					t.Fatalf("%s after %s", change, published)
				}
				published = to
			}
			if tier := s.account(id).Tier; tier != published {
				t.Fatalf("the account is on %s, and %s was published", tier, published)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"subscribe": func(t *rapid.T) {
				step++
				tier := rapid.SampledFrom([]string{"free", "gift", "pro", "team"}).Draw(t, "tier")
				with := rapid.SampledFrom([]string{card, other}).Draw(t, "card")
				for range rapid.IntRange(1, 3).Draw(t, "times") {
					account, err := s.subscribe(id, tier, with, fmt.Sprint(step))
					if err == nil && account.Tier != tier {
						t.Fatalf("%s was answered for %s", account.Tier, tier)
					}
				}
			},
			"cancel": func(t *rapid.T) {
				_, _ = s.CancelSubscription(t.Context(), id, rapid.Bool().Draw(t, "at period end"))
			},
			"resume": func(t *rapid.T) {
				s.clock.Turn(time.Minute)
				if err := s.another().Resume(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			"a day": func(*rapid.T) {
				s.clock.Turn(25 * time.Hour)
				s.bank.forget()
			},
			"ended by the provider": func(t *rapid.T) {
				for _, c := range s.bank.live(id) {
					s.bank.set(c.ID, func(s *service.Subscription) { s.Status = service.Ended })
					if err := s.tell(service.WebhookEvent{
						ID: fmt.Sprintf("evt_%s_%d", c.ID, step), Kind: service.WebhookSubscriptionEnd, CustomerID: id,
						ProvidersCustomer: s.bank.theirs(id), Subscription: c.ID,
					}); err != nil {
						t.Fatal(err)
					}
				}
			},
		})
		s.bank.fault = nil
		s.clock.Turn(time.Hour)
		require.NoError(t, s.Resume(t.Context()))
		check()
		account, live := s.account(id), s.bank.live(id)
		switch account.Status {
		case service.None:
			require.Empty(t, live)
		default:
			require.Len(t, live, 1)
			require.Equal(t, "price_"+account.Tier, live[0].PriceID)
			require.Equal(t, account.CancelAtPeriodEnd, live[0].CancelAtPeriodEnd)
		}
	})
}
