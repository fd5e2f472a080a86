package service_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/migrations"
)

// modelled is what a test knows of one address: the newest token for each purpose, and when mails were sent.
type modelled struct {
	email  string
	active bool
	tokens map[string]*modelledToken // by purpose
	mails  []time.Time
}

type modelledToken struct {
	text    string
	expires time.Time
	wrong   int
}

// Mails, good tokens, wrong ones, those of others and time, in any order: a token is good for one thing, for one address, once,
// for an hour, until there is a newer one or too many wrong ones were tried; and there are only so many mails.
func TestTokensAreAsTheModelSays(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "signup", migrations.FS)
	w := setupWith(t, db, func(s *service.Settings) { s.Token.Attempts, s.MailsPerHour = 3, 4 })
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		addresses := []*modelled{}
		for i := range 2 {
			addresses = append(addresses, &modelled{email: fmt.Sprintf("%d.%d@example.com", round, i), tokens: map[string]*modelledToken{}})
		}
		used := []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ"} // and whatever was ever sent
		pick := func(rt *rapid.T) *modelled { return rapid.SampledFrom(addresses).Draw(rt, "address") }
		ask := func(rt *rapid.T, purpose string) {
			a, before := pick(rt), len(w.sent())
			send := w.SendVerificationEmail
			if purpose == "reset" {
				send = w.Recover
			}
			require.NoError(rt, send(context.Background(), a.email))
			a.mails = slices.DeleteFunc(a.mails, func(at time.Time) bool { return !at.After(w.now.Add(-time.Hour)) })
			if len(a.mails) >= 4 {
				require.Len(rt, w.sent(), before)
				return
			}
			require.Len(rt, w.sent(), before+1)
			a.mails = append(a.mails, w.now.Truncate(time.Microsecond))
			token := tokenOf(w.sent()[before])
			delete(a.tokens, purpose)
			require.Equal(rt, a.active == (purpose == "reset"), token != "")
			if token != "" {
				a.tokens[purpose] = &modelledToken{text: token, expires: w.now.Truncate(time.Microsecond).Add(time.Hour)}
				used = append(used, token)
			}
		}
		use := func(rt *rapid.T, purpose string) {
			a, token := pick(rt), rapid.SampledFrom(used).Draw(rt, "token")
			known := a.tokens[purpose]
			good := known != nil && known.text == token && known.expires.After(w.now.Truncate(time.Microsecond)) && known.wrong < 3
			if known != nil && known.text != token {
				known.wrong++
			}
			var err error
			if purpose == "reset" {
				err = w.ResetPassword(context.Background(), a.email, token, secret)
			} else {
				_, err = w.CompleteSignup(context.Background(), a.email, token, secret)
			}
			if !good {
				notGood(rt, err)
				return
			}
			delete(a.tokens, purpose)
			if purpose == "verify" && a.active {
				notGood(rt, err)
				return
			}
			require.NoError(rt, err)
			a.active = true
		}
		rt.Repeat(map[string]func(*rapid.T){
			"send":     func(rt *rapid.T) { ask(rt, "verify") },
			"recover":  func(rt *rapid.T) { ask(rt, "reset") },
			"complete": func(rt *rapid.T) { use(rt, "verify") },
			"reset":    func(rt *rapid.T) { use(rt, "reset") },
			"wait": func(rt *rapid.T) {
				w.pass(time.Duration(rapid.IntRange(0, 4_000_000_000).Draw(rt, "us")) * time.Microsecond)
			},
			"sweep": func(rt *rapid.T) { require.NoError(rt, w.Sweep(context.Background())) },
			"": func(rt *rapid.T) {
				for _, a := range addresses {
					require.Equal(rt, a.active, w.status(a.email) == "active")
				}
			},
		})
	})
}
