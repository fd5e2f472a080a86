package service

import (
	"context"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// maxGrace is how many seconds a key that was rotated is good for at most.
const maxGrace = 7 * 24 * 60 * 60

// Rotation asks for a key in the place of another.
type Rotation struct {
	CustomerID string
	KeyID      string
	Grace      int64 // how many seconds more the old key is good, to the next full one: 0 to 604,800
}

// Rotate makes a key of the same scopes, description and expiry as another, which ends when its grace is over, and returns it
// with its text, which is kept nowhere. A key is rotated once: to do it again is a conflict, which names the new one.
func (k *Keys) Rotate(ctx context.Context, r Rotation) (Key, string, error) {
	customerID, err := parseID("customer_id", r.CustomerID)
	if err != nil {
		return Key{}, "", err
	}
	id, err := parseKeyID("id", r.KeyID)
	if err != nil {
		return Key{}, "", err
	}
	if r.Grace < 0 || r.Grace > maxGrace {
		return Key{}, "", errors.Invalid("grace_seconds", "must be from 0 to %d", maxGrace)
	}
	var fresh freshKey
	err = k.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		customer, err := lockKeyholder(ctx, tx, customerID)
		if err != nil {
			return err
		}
		old, err := findOwnKey(ctx, tx, "id", customer.ID, id)
		if err != nil {
			return err
		}
		now := k.now()
		if err := old.mayRotate(now); err != nil {
			return err
		}
		if fresh, err = newFreshKey(Key{
			CustomerID: customer.ID, Scopes: old.Scopes, Description: old.Description, Created: now, Expires: old.Expires,
		}); err != nil {
			return err
		}
		until := old.until(now, r.Grace)
		if err := replaceKey(ctx, tx, old.ID, fresh.ID, until, r.Grace == 0); err != nil {
			return err
		}
		return k.add(ctx, tx, customer, fresh, rotateKey(fresh.Key, old.ID, until))
	})
	if err != nil {
		return Key{}, "", err
	}
	return fresh.Key, fresh.text, nil
}

// mayRotate says why a key cannot be rotated.
func (o ownKey) mayRotate(now time.Time) error {
	switch {
	case o.RotatedTo != "":
		return errors.Conflict("id", "the key was rotated before, and %s has its place: rotate that one", o.RotatedTo)
	case o.revoked:
		return errors.Conflict("id", "the key was revoked: make another one")
	case o.Blocked != "":
		return errors.Conflict("id", "the key is blocked")
	case !o.Expires.IsZero() && !now.Before(o.Expires):
		return errors.Conflict("id", "the key has expired: make another one")
	}
	return nil
}

// until is when a key ends that is rotated now. It is a full second, because that is how callers are told of it.
func (o ownKey) until(now time.Time, grace int64) time.Time {
	if grace == 0 {
		return now
	}
	end := now.Add(time.Duration(grace)*time.Second + time.Second - time.Microsecond).Truncate(time.Second)
	if !o.Expires.IsZero() && o.Expires.Before(end) {
		return o.Expires
	}
	return end
}
