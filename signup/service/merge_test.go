package service

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// tracks generates what calls about one visitor say, in which few values come up often.
func tracks(t *rapid.T) []Track {
	at := rapid.Custom(func(t *rapid.T) time.Time {
		s := rapid.Int64Range(0, 5).Draw(t, "seconds")
		if s == 0 {
			return time.Time{}
		}
		return time.Unix(s, 0).UTC()
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Track {
		return Track{
			ID:                "visitor",
			Email:             rapid.SampledFrom([]string{"", "a@b", "c@d"}).Draw(t, "email"),
			FirstVisit:        at.Draw(t, "visit"),
			FirstVerification: at.Draw(t, "verification"),
			Registration:      at.Draw(t, "registration"),
			Referrer:          rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "referrer"),
		}
	}), 1, 8).Draw(t, "tracks")
}

func mergeAll(tracks []Track) Track {
	known := tracks[0]
	for _, said := range tracks[1:] {
		known = merge(known, said)
	}
	return known
}

// sameTimes says whether two tracks have the same times.
func sameTimes(a, b Track) bool {
	return a.FirstVisit.Equal(b.FirstVisit) && a.FirstVerification.Equal(b.FirstVerification) &&
		a.Registration.Equal(b.Registration)
}

func TestTheOrderOfCallsDoesNotChangeTheTimes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		said := tracks(t)
		known := mergeAll(said)
		if other := mergeAll(rapid.Permutation(said).Draw(t, "order")); !sameTimes(known, other) {
			t.Fatalf("%+v and, in another order, %+v", known, other)
		}
	})
}

func TestTheEarliestTimeAndTheFirstTextAreKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		said := tracks(t)
		want := said[0]
		for _, s := range said[1:] {
			if !s.FirstVisit.IsZero() && (want.FirstVisit.IsZero() || s.FirstVisit.Before(want.FirstVisit)) {
				want.FirstVisit = s.FirstVisit
			}
			if !s.FirstVerification.IsZero() && (want.FirstVerification.IsZero() || s.FirstVerification.Before(want.FirstVerification)) {
				want.FirstVerification = s.FirstVerification
			}
			if !s.Registration.IsZero() && (want.Registration.IsZero() || s.Registration.Before(want.Registration)) {
				want.Registration = s.Registration
			}
			if want.Email == "" {
				want.Email = s.Email
			}
			if want.Referrer == "" {
				want.Referrer = s.Referrer
			}
		}
		if got := mergeAll(said); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

func TestACallMadeAgainChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		said := tracks(t)
		known := mergeAll(said)
		again := merge(known, rapid.SampledFrom(said).Draw(t, "again"))
		if again != known {
			t.Fatalf("%+v became %+v", known, again)
		}
	})
}

// Tracks are compared with ==, which for times is about more than the moment.
func TestNormalTimesCanBeCompared(t *testing.T) {
	t.Parallel()
	east := time.Now().In(time.FixedZone("east", 3600))
	a := Track{FirstVisit: east, FirstVerification: east, Registration: east}.normal()
	b := Track{FirstVisit: east.UTC(), FirstVerification: east.UTC(), Registration: east.UTC()}.normal()
	require.True(t, a == b)
	require.True(t, Track{}.normal() == Track{})
}
