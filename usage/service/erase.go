package service

import (
	"context"
	"fmt"

	"github.com/m3o/backend/pkg/database"
)

// Erase removes the counters of a customer and where they stand, in the caller's transaction. What stays are the ids of requests
// and of batches, which say of nobody whose they were, until they are swept.
func (u *Usage) Erase(ctx context.Context, tx database.Querier, customerID string) error {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return err
	}
	for _, table := range []string{"usage_customers", "usage_totals", "usage_monthly", "usage_daily"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE customer_id = $1`, id); err != nil {
			return fmt.Errorf("erase a customer: %w", err)
		}
	}
	return nil
}
