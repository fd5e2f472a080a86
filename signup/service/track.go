package service

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
)

// Track is what is known of a visitor, or what a call says of one. A zero value is something that is not known.
type Track struct {
	ID    string
	Email string
	// The times are in UTC, to the microsecond.
	FirstVisit        time.Time
	FirstVerification time.Time
	Registration      time.Time
	Referrer          string
}

// Track adds to what is known of a visitor: see merge. What is said in vain, because it is known already or something
// earlier is, changes nothing.
func (s *Signup) Track(ctx context.Context, said Track) error {
	if err := said.check(); err != nil {
		return err
	}
	said = said.normal()
	err := s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		added, err := insertTrack(ctx, tx, said)
		if err != nil || added {
			return err
		}
		known, err := findTrack(ctx, tx, said.ID, "FOR UPDATE")
		if err != nil {
			return err
		}
		if merged := merge(known, said); merged != known {
			return updateTrack(ctx, tx, merged)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("track a visitor: %w", err)
	}
	return nil
}

// ReadTrack returns what is known of a visitor.
func (s *Signup) ReadTrack(ctx context.Context, id string) (Track, error) {
	if err := checkID("id", id); err != nil {
		return Track{}, err
	}
	return findTrack(ctx, s.db.Read(), id, "")
}

// merge adds what a call says to what is known. A time stays or becomes the earliest that anybody has said, so that calls
// may come late, twice and in any order. Of the texts the first stays: anybody may call, and nobody is to replace what
// somebody else has said.
func merge(known, said Track) Track {
	return Track{
		ID:                known.ID,
		Email:             cmp.Or(known.Email, said.Email),
		FirstVisit:        earliest(known.FirstVisit, said.FirstVisit),
		FirstVerification: earliest(known.FirstVerification, said.FirstVerification),
		Registration:      earliest(known.Registration, said.Registration),
		Referrer:          cmp.Or(known.Referrer, said.Referrer),
	}
}

// earliest returns the earlier of two times, of which either may be unknown.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// normal returns t as it is kept, so that tracks can be compared.
func (t Track) normal() Track {
	for _, at := range []*time.Time{&t.FirstVisit, &t.FirstVerification, &t.Registration} {
		if !at.IsZero() {
			*at = fromMicro(at.UnixMicro())
		}
	}
	return t
}

// fromMicro returns a time as it is kept.
func fromMicro(us int64) time.Time { return time.UnixMicro(us).UTC() }
