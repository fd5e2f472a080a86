package service_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/migrations"
)

// at is a time of day, on a day of no importance.
func at(hour int) time.Time { return time.Date(2030, 5, 17, hour, 0, 0, 0, time.UTC) }

func TestTrackIsRead(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := setup(t, db)
		for _, track := range []service.Track{
			{ID: "only-an_ID"},
			{
				ID: strings.Repeat("Z", 64), Email: "Jane@Example.com", FirstVisit: at(1), FirstVerification: at(2),
				Registration: at(3), Referrer: "https://example.com/?q=é",
			},
			{ID: "limits", Email: strings.Repeat("l", 252) + "@d", Referrer: strings.Repeat("r", 2048)},
			{ID: "times", FirstVisit: time.Unix(1, 0).UTC(), Registration: time.Unix(253402300799, 0).UTC()},
		} {
			require.NoError(t, s.Track(t.Context(), track))
			got, err := s.ReadTrack(t.Context(), track.ID)
			require.NoError(t, err)
			require.Equal(t, track, got)
		}
	})
}

func TestTrackMergesCalls(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := setup(t, db)
		for i, step := range []struct{ said, want service.Track }{
			{service.Track{FirstVisit: at(5)}, service.Track{FirstVisit: at(5)}},
			{
				service.Track{Email: "jane@example.com", FirstVerification: at(6)},
				service.Track{Email: "jane@example.com", FirstVisit: at(5), FirstVerification: at(6)},
			},
			{ // earlier, later, and somebody else's address
				service.Track{Email: "john@example.com", FirstVisit: at(4), FirstVerification: at(7)},
				service.Track{Email: "jane@example.com", FirstVisit: at(4), FirstVerification: at(6)},
			},
			{ // in another zone, to the microsecond
				service.Track{Registration: at(9).Add(1999).In(time.FixedZone("east", 3600)), Referrer: "ad"},
				service.Track{
					Email: "jane@example.com", FirstVisit: at(4), FirstVerification: at(6),
					Registration: at(9).Add(1000), Referrer: "ad",
				},
			},
			{ // nothing
				service.Track{},
				service.Track{
					Email: "jane@example.com", FirstVisit: at(4), FirstVerification: at(6),
					Registration: at(9).Add(1000), Referrer: "ad",
				},
			},
		} {
			step.said.ID, step.want.ID = "visitor", "visitor"
			for range 2 { // the second changes nothing
				require.NoError(t, s.Track(t.Context(), step.said), i)
				got, err := s.ReadTrack(t.Context(), "visitor")
				require.NoError(t, err, i)
				require.Equal(t, step.want, got, i)
			}
		}
		require.Equal(t, 1, count(t, db, "tracks"))
	})
}

func TestIDsDifferByCase(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := setup(t, db)
		require.NoError(t, s.Track(t.Context(), service.Track{ID: "a", Referrer: "small"}))
		require.NoError(t, s.Track(t.Context(), service.Track{ID: "A", Referrer: "large"}))
		got, err := s.ReadTrack(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "small", got.Referrer)
		require.Equal(t, 2, count(t, db, "tracks"))
	})
}

func TestCallsAtOnceLoseNothing(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := setup(t, db)
		var wg sync.WaitGroup
		errs := make(chan error, 48)
		for i := range 16 {
			for _, said := range []service.Track{
				{ID: "visitor", FirstVisit: at(1 + i)},
				{ID: "visitor", FirstVerification: at(20 - i), Email: fmt.Sprintf("%d@example.com", i)},
				{ID: "visitor", Registration: at(7), Referrer: "ad"},
			} {
				wg.Go(func() { errs <- s.Track(t.Context(), said) })
			}
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		got, err := s.ReadTrack(t.Context(), "visitor")
		require.NoError(t, err)
		require.Contains(t, got.Email, "@example.com")
		got.Email = ""
		require.Equal(t, service.Track{
			ID: "visitor", FirstVisit: at(1), FirstVerification: at(5), Registration: at(7), Referrer: "ad",
		}, got)
		require.Equal(t, 1, count(t, db, "tracks"))
	})
}

func TestReadTrackOfNobody(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		_, err := setup(t, db).ReadTrack(t.Context(), "nobody")
		require.EqualError(t, err, "id: there is no such track")
		require.Equal(t, errors.KindNotFound, errors.KindOf(err))
	})
}

func TestWrongTracks(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := setup(t, db)
		const (
			noID    = "id: must have 1 to 64 letters, digits, hyphens and underscores"
			noEmail = "email: must be an address with exactly one @ and something on both sides of it"
			noTime  = ": must be in seconds since 1970, from 1 to 253402300799, or 0 when it is not known"
		)
		for name, tc := range map[string]struct {
			said service.Track
			want string
		}{
			"nothing":             {service.Track{}, "id: required"},
			"id, too long":        {service.Track{ID: strings.Repeat("a", 65)}, noID},
			"id, 1 MB":            {service.Track{ID: strings.Repeat("a", 1<<20)}, noID},
			"id, space":           {service.Track{ID: "a b"}, noID},
			"id, line":            {service.Track{ID: "a\n"}, noID},
			"id, letter":          {service.Track{ID: "é"}, noID},
			"email, no @":         {service.Track{ID: "a", Email: "jane"}, noEmail},
			"email, two @":        {service.Track{ID: "a", Email: "a@b@c"}, noEmail},
			"email, no local":     {service.Track{ID: "a", Email: "@b"}, noEmail},
			"email, no domain":    {service.Track{ID: "a", Email: "a@"}, noEmail},
			"email, too long":     {service.Track{ID: "a", Email: strings.Repeat("l", 253) + "@d"}, "email: must have at most 254 bytes"},
			"email, control":      {service.Track{ID: "a", Email: "a\x00@b"}, "email: must not contain control characters"},
			"email, header":       {service.Track{ID: "a", Email: "a@b\r\nBcc: c@d"}, "email: must not contain control characters"},
			"referrer, too long":  {service.Track{ID: "a", Referrer: strings.Repeat("r", 2049)}, "referrer: must have at most 2048 bytes"},
			"referrer, control":   {service.Track{ID: "a", Referrer: "a\x00"}, "referrer: must not contain control characters"},
			"visit, negative":     {service.Track{ID: "a", FirstVisit: time.Unix(-1, 0)}, "first_visit" + noTime},
			"visit, epoch":        {service.Track{ID: "a", FirstVisit: time.Unix(0, 0)}, "first_visit" + noTime},
			"visit, milliseconds": {service.Track{ID: "a", FirstVisit: time.Unix(1_900_000_000_000, 0)}, "first_visit" + noTime},
			"verification":        {service.Track{ID: "a", FirstVerification: time.Unix(253402300800, 0)}, "first_verification" + noTime},
			"registration":        {service.Track{ID: "a", Registration: time.Unix(-1<<63, 0)}, "registration" + noTime},
		} {
			err := s.Track(t.Context(), tc.said)
			require.EqualError(t, err, tc.want, name)
			require.Equal(t, errors.KindInvalid, errors.KindOf(err), name)
		}
		require.Zero(t, count(t, db, "tracks"))

		for id, want := range map[string]string{"": "id: required", "a/b": noID} {
			_, err := s.ReadTrack(t.Context(), id)
			require.EqualError(t, err, want)
		}
	})
}

func TestADatabaseThatFailsIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "signup", migrations.FS)
	s := setup(t, db)
	require.NoError(t, db.Close())
	err := s.Track(t.Context(), service.Track{ID: "a", Email: "jane@example.com"})
	require.Equal(t, errors.KindInternal, errors.KindOf(err))
	require.NotContains(t, err.Error(), "jane")
	_, err = s.ReadTrack(t.Context(), "a")
	require.Equal(t, errors.KindInternal, errors.KindOf(err))
}
