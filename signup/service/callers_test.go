package service_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/migrations"
)

// from is a call that comes from an address.
func from(ctx context.Context, address string) context.Context {
	return metadata.NewContext(ctx, metadata.Metadata{"X-Forwarded-For": address, "Remote": "192.0.2.250:1"})
}

// asks asks for mails to one address after the other, and returns how many times that was not refused; -1 when it was for another
// reason than that there were too many.
func (w *world) asks(ctx context.Context, times int) int {
	for i := range times {
		ask := []func(context.Context, string) error{w.SendVerificationEmail, w.Recover}[i%2]
		switch err := ask(ctx, fmt.Sprintf("%d.%d@example.com", len(w.people), i)); {
		case errors.KindOf(err) == errors.KindTooMany:
			return i
		case err != nil:
			return -1
		}
	}
	return times
}

func TestMailsPerCaller(t *testing.T) {
	t.Parallel()
	w := setupWith(t, databasetest.Open(t, "signup", migrations.FS), func(s *service.Settings) { s.MailsPerCallerPerHour = 4 })
	const caller = "192.0.2.1"
	require.Equal(t, 4, w.asks(from(t.Context(), caller), 10))
	require.Len(t, w.sent(), 4)

	// Whatever it is about, nothing else is done.
	calls := w.customers.CreateCallCount() + w.customers.ReadCallCount()
	for _, email := range []string{jane, "no address"} {
		for _, ask := range []func(context.Context, string) error{w.SendVerificationEmail, w.Recover} {
			require.EqualError(t, ask(from(t.Context(), caller), email),
				"too many mails were asked for from where this call comes from: try again in 900 seconds")
		}
	}
	require.Equal(t, calls, w.customers.CreateCallCount()+w.customers.ReadCallCount())

	require.Equal(t, 4, w.asks(from(t.Context(), "192.0.2.2"), 10), "another caller has their own")
	w.pass(15*time.Minute - time.Second)
	require.EqualError(t, w.Recover(from(t.Context(), caller), jane),
		"too many mails were asked for from where this call comes from: try again in 1 seconds")
	w.pass(time.Second)
	require.Equal(t, 1, w.asks(from(t.Context(), caller), 10))
	w.pass(24 * time.Hour)
	require.Equal(t, 4, w.asks(from(t.Context(), caller), 10), "and no more than those of an hour are saved up")
}

// Addresses are of one caller, of two, or of none who is counted.
func TestWhoIsOneCaller(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		one, other string
		second     int // how many of the other's ten are not refused after ten of the one's
	}{
		"the same":            {"192.0.2.1", "192.0.2.1", 0},
		"as IPv6":             {"192.0.2.1", "::ffff:192.0.2.1", 0},
		"with a port":         {"192.0.2.1", "192.0.2.1:17", 0},
		"another":             {"192.0.2.1", "192.0.2.2", 3},
		"one network":         {"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", 0},
		"two networks":        {"2001:db8:0:1::1", "2001:db8:0:2::1", 3},
		"a zone":              {"fe80::1%eth0", "fe80::2", 0},
		"not to be read":      {"", "somebody", 0},
		"this machine":        {"127.0.0.1", "127.0.0.1", 10},
		"this machine's IPv6": {"::1", "[::1]:17", 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupWith(t, databasetest.Open(t, "signup", migrations.FS), func(s *service.Settings) { s.MailsPerCallerPerHour = 3 })
			w.asks(from(t.Context(), tc.one), 10)
			require.Equal(t, tc.second, w.asks(from(t.Context(), tc.other), 10))
		})
	}
}

// Who has come through no door is told by the connection, if there is one.
func TestCallersWithoutADoor(t *testing.T) {
	t.Parallel()
	w := setupWith(t, databasetest.Open(t, "signup", migrations.FS), func(s *service.Settings) { s.MailsPerCallerPerHour = 3 })
	for remote, want := range map[string]int{"192.0.2.1:17": 3, "127.0.0.1:17": 10, "@": 3} {
		ctx := metadata.NewContext(t.Context(), metadata.Metadata{"Remote": remote})
		require.Equal(t, want, w.asks(ctx, 10), remote)
	}
	require.Equal(t, 10, w.asks(t.Context(), 10))
}

func TestNoLimitForCallers(t *testing.T) {
	t.Parallel()
	w := setupWith(t, databasetest.Open(t, "signup", migrations.FS), func(s *service.Settings) { s.MailsPerCallerPerHour = 0 })
	require.Equal(t, 150, w.asks(from(t.Context(), "192.0.2.1"), 150))
	w = setup(t, databasetest.Open(t, "signup", migrations.FS))
	require.Equal(t, 100, w.asks(from(t.Context(), "192.0.2.1"), 150), "by default")
}
