package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
)

// Many that always fail do not keep the rest from its turn.
func TestResumeTakesTurns(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		const n = 60
		cards := make(map[string]bool)
		for range n {
			id, _, _ := s.subscribed()
			removed := s.bank.addCard(id)
			cards[removed] = false
			_, err := s.ListCards(t.Context(), id)
			require.NoError(t, err)
			s.bank.fault = func(string, string) (bool, bool) { return true, false }
			s.clock.Turn(time.Second)
			require.NoError(t, s.DeleteCard(t.Context(), id, removed))
			s.bank.fault = nil
			require.NoError(t, s.in(func(tx database.Querier) error { return s.Close(t.Context(), tx, id) }))
		}
		s.bank.fault = func(call, key string) (bool, bool) {
			if call == "detach" {
				cards[key[strings.LastIndex(key, "/")+1:]] = true
			}
			return true, false
		}
		for _, want := range []int{50, n} {
			s.clock.Turn(time.Second)
			require.NoError(t, s.Resume(t.Context()))
			tried := 0
			for _, was := range cards {
				if was {
					tried++
				}
			}
			require.Equal(t, want, tried)
		}
		// Each cancellation is on its way by now.
		require.Equal(t, n, s.pending())
		s.bank.fault = nil
		for range 2 {
			s.clock.Turn(time.Minute)
			require.NoError(t, s.Resume(t.Context()))
		}
		require.Zero(t, s.pending())
		require.Zero(t, s.rows("billing_accounts WHERE subscription <> ''"))
		require.Zero(t, s.rows("billing_cards WHERE removed > 0 AND detached = 0"))
	})
}
