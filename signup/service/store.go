package service

import (
	"context"
	"database/sql"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// insertTrack adds a track unless there is one of that id, and says whether it did.
func insertTrack(ctx context.Context, tx database.Querier, t Track) (bool, error) {
	result, err := tx.Exec(ctx, `
		INSERT INTO signup_tracks (id, email, first_visit, first_verification, registration, referrer)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO NOTHING`, t.values()...)
	if err != nil {
		return false, fmt.Errorf("insert a track: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// updateTrack replaces a track, which has to have been read for that in the same transaction.
func updateTrack(ctx context.Context, tx database.Querier, t Track) error {
	_, err := tx.Exec(ctx, `
		UPDATE signup_tracks
		SET email = $2, first_visit = $3, first_verification = $4, registration = $5, referrer = $6
		WHERE id = $1`, t.values()...)
	if err != nil {
		return fmt.Errorf("update a track: %w", err)
	}
	return nil
}

// findTrack returns the track of an id. The lock is FOR UPDATE when it is read to be changed.
func findTrack(ctx context.Context, q database.Reader, id, lock string) (Track, error) {
	t := Track{ID: id}
	var email, referrer sql.NullString
	var visit, verification, registration sql.NullInt64
	err := q.QueryRow(ctx, `
		SELECT email, first_visit, first_verification, registration, referrer
		FROM signup_tracks WHERE id = $1 `+lock, id).Scan(&email, &visit, &verification, &registration, &referrer)
	if stderrors.Is(err, sql.ErrNoRows) {
		return Track{}, errors.NotFound("id", "there is no such track")
	}
	if err != nil {
		return Track{}, fmt.Errorf("read a track: %w", err)
	}
	t.Email, t.Referrer = email.String, referrer.String
	t.FirstVisit, t.FirstVerification, t.Registration = timeOf(visit), timeOf(verification), timeOf(registration)
	return t, nil
}

// values are the columns of a track, in the order of their arguments.
func (t Track) values() []any {
	return []any{
		t.ID, nullText(t.Email), nullTime(t.FirstVisit), nullTime(t.FirstVerification), nullTime(t.Registration),
		nullText(t.Referrer),
	}
}

func nullText(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func nullTime(t time.Time) sql.NullInt64 {
	if t.IsZero() {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: true}
}

func timeOf(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return fromMicro(us.Int64)
}
