package service

import (
	"context"
	"fmt"

	"github.com/m3o/backend/pkg/address"
	"github.com/m3o/backend/pkg/database"
)

// Erase removes what is known of a customer, in the caller's transaction: the address and where they came from in the tracks of
// their visits, whose times stay as nobody's; the tokens; and the mails that are still to be sent. Without an address, only the
// tokens are found. Mails that were sent are not here any more.
func (s *Signup) Erase(ctx context.Context, tx database.Querier, customerID, email string) error {
	err := erase(ctx, tx, customerID, `DELETE FROM signup_tokens WHERE customer_id <> '' AND customer_id = $1`)
	if err != nil || email == "" {
		return err
	}
	a, err := address.Parse("customer.email", email)
	if err != nil {
		return err
	}
	for _, what := range []struct{ key, statement string }{
		{keyOf(a), `DELETE FROM signup_tokens WHERE address = $1`},
		{keyOf(a), `DELETE FROM signup_mails WHERE address = $1`},
		{a.Key, `DELETE FROM signup_welcomes WHERE LOWER(email) = $1`},
		{a.Key, `UPDATE signup_tracks SET email = NULL, referrer = NULL WHERE email IS NOT NULL AND LOWER(email) = $1`},
	} {
		if err := erase(ctx, tx, what.key, what.statement); err != nil {
			return err
		}
	}
	return nil
}

func erase(ctx context.Context, tx database.Querier, key, statement string) error {
	if _, err := tx.Exec(ctx, statement, key); err != nil {
		return fmt.Errorf("erase a customer: %w", err)
	}
	return nil
}
