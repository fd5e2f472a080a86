package service

import (
	"context"
	"database/sql"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// standing is where a customer stands: the tier, and what an operator has set instead of its quota.
type standing struct {
	tier         string
	monthlyQuota int64 // of the tier, as billing said
	// override is what an operator has set, until a time in microseconds since 1970; 0 for no end.
	override sql.NullInt64
	until    int64
}

// newcomer is where a customer stands who is not known.
func newcomer() standing { return standing{tier: FreeTier} }

// overridden says whether it is the operator's quota that holds at a time.
func (s *standing) overridden(now time.Time) bool {
	return s.override.Valid && (s.until == 0 || now.UnixMicro() < s.until)
}

// quota is how many requests a month a customer may make at a time.
func (u *Usage) quota(s *standing, now time.Time) int64 {
	if s.overridden(now) {
		return s.override.Int64
	}
	if quota, ok := u.quotas[s.tier]; ok {
		return quota
	}
	return s.monthlyQuota
}

// Enter puts a new customer on the free tier, in the caller's transaction. One who is known stays where they are: what billing
// says of a customer may come before anybody else has said that there is one.
func (u *Usage) Enter(ctx context.Context, tx database.Querier, customerID string) error {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return err
	}
	return enter(ctx, tx, id)
}

// TierChange is what billing says of a customer's tier.
type TierChange struct {
	CustomerID string
	// Tier is the id of the tier that the customer is on now, MonthlyQuota how many requests of a calendar month it includes.
	Tier         string
	MonthlyQuota int64
	// Time is when billing said it, Sequence which of its events about the customer it was; 0 when they have no order.
	Time     time.Time
	Sequence int64
}

// ChangeTier puts a customer on another tier, in the caller's transaction, and takes back what SetQuota has set for the one
// before. What comes late, after what billing has said since, changes nothing.
func (u *Usage) ChangeTier(ctx context.Context, tx database.Querier, change TierChange) error {
	id, ok := parseUUID(change.CustomerID)
	switch {
	case !ok:
		return notUUID("customer_id", change.CustomerID, "the id of a customer")
	case change.MonthlyQuota < 0:
		return errors.Invalid("monthly_quota", "must not be negative")
	}
	change.MonthlyQuota = min(change.MonthlyQuota, MaxQuota)
	if err := checkName("tier", change.Tier); err != nil {
		return err
	}
	changed, err := changeTier(ctx, tx, id.String(), change)
	if err != nil || !changed {
		return err
	}
	return u.watchOne(ctx, tx, id)
}

// Override is a quota that an operator gives to a customer.
type Override struct {
	// Quota is how many requests of a calendar month, UTC, are let through.
	Quota int64
	// Until is when it ends, if the customer does not come to another tier before. Zero for no other end.
	Until time.Time
}

// Allowed is what a customer may.
type Allowed struct {
	Tier string
	// Quota is how many requests of a calendar month, UTC, are let through.
	Quota int64
	// Until is when this quota ends, if it is an operator's that has an end; else zero.
	Until time.Time
}

// SetQuota gives a customer another quota than the tier's, or takes that back when override is nil. It returns what holds now.
func (u *Usage) SetQuota(ctx context.Context, customerID string, override *Override) (Allowed, error) {
	id, ok := parseUUID(customerID)
	if !ok {
		return Allowed{}, notUUID("customer_id", customerID, "the id of a customer")
	}
	var quota sql.NullInt64
	var until int64
	if override != nil {
		switch {
		case override.Quota < 0 || override.Quota > MaxQuota:
			return Allowed{}, errors.Invalid("quota", "must be from 0 to %d", int64(MaxQuota))
		case !override.Until.IsZero() && !override.Until.After(u.now()):
			return Allowed{}, errors.Invalid("until", "must be in the future, or 0 for the next change of the tier")
		}
		quota = sql.NullInt64{Int64: override.Quota, Valid: true}
		if !override.Until.IsZero() {
			until = override.Until.UnixMicro()
		}
	}
	var s standing
	err := u.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		if err := enter(ctx, tx, id.String()); err != nil {
			return err
		}
		if err := setOverride(ctx, tx, id.String(), quota, until); err != nil {
			return err
		}
		var err error
		if s, err = standingOf(ctx, tx, id.String()); err != nil {
			return err
		}
		return u.watchOne(ctx, tx, id)
	})
	if err != nil {
		return Allowed{}, fmt.Errorf("set a quota: %w", err)
	}
	return u.allowed(&s, u.now()), nil
}

func (u *Usage) allowed(s *standing, now time.Time) Allowed {
	a := Allowed{Tier: s.tier, Quota: u.quota(s, now)}
	if s.overridden(now) && s.until != 0 {
		a.Until = time.UnixMicro(s.until).UTC()
	}
	return a
}

// watchOne looks whether a customer whose quota is another one now has used it up already.
func (u *Usage) watchOne(ctx context.Context, tx database.Querier, id uuid.UUID) error {
	now := u.now()
	return u.watch(ctx, tx, []sum{{counter: counter{customer: id, begin: monthOf(now).UnixMicro()}, id: id.String()}}, now)
}

// enter adds a customer on the free tier if there is none.
func enter(ctx context.Context, tx database.Querier, id string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO usage_customers (customer_id, tier, monthly_quota, changed, sequence, override_until)
		VALUES ($1, $2, 0, 0, 0, 0) ON CONFLICT (customer_id) DO NOTHING`, id, FreeTier)
	if err != nil {
		return fmt.Errorf("enter a customer: %w", err)
	}
	return nil
}

// changeTier puts a customer on a tier, if that is not older than what is known, and says whether it did. It takes both the
// time and the sequence for being older: clocks differ, and numbers begin again where a database was lost. What an operator has
// set stays when it is the tier that the customer was on.
func changeTier(ctx context.Context, tx database.Querier, id string, c TierChange) (bool, error) {
	result, err := tx.Exec(ctx, `
		INSERT INTO usage_customers (customer_id, tier, monthly_quota, changed, sequence, override_until)
		VALUES ($1, $2, $3, $4, $5, 0)
		ON CONFLICT (customer_id) DO UPDATE SET
			tier = excluded.tier, monthly_quota = excluded.monthly_quota,
			changed = excluded.changed, sequence = excluded.sequence,
			override_quota = CASE WHEN usage_customers.tier = excluded.tier THEN usage_customers.override_quota END,
			override_until = CASE WHEN usage_customers.tier = excluded.tier THEN usage_customers.override_until ELSE 0 END
		WHERE excluded.changed >= usage_customers.changed OR excluded.sequence > usage_customers.sequence`,
		id, c.Tier, c.MonthlyQuota, c.Time.UnixMicro(), c.Sequence)
	if err != nil {
		return false, fmt.Errorf("change a tier: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// setOverride sets what an operator says, of a customer who is known.
func setOverride(ctx context.Context, tx database.Querier, id string, quota sql.NullInt64, until int64) error {
	_, err := tx.Exec(ctx, `UPDATE usage_customers SET override_quota = $2, override_until = $3 WHERE customer_id = $1`,
		id, quota, until)
	if err != nil {
		return fmt.Errorf("override a quota: %w", err)
	}
	return nil
}

const columnsOfStanding = `tier, monthly_quota, override_quota, override_until`

// standingOf reads where a customer stands.
func standingOf(ctx context.Context, q database.Reader, id string) (standing, error) {
	var s standing
	err := q.QueryRow(ctx, `SELECT `+columnsOfStanding+` FROM usage_customers WHERE customer_id = $1`, id).
		Scan(&s.tier, &s.monthlyQuota, &s.override, &s.until)
	if stderrors.Is(err, sql.ErrNoRows) {
		return newcomer(), nil
	}
	if err != nil {
		return standing{}, fmt.Errorf("read a customer's tier: %w", err)
	}
	return s, nil
}
