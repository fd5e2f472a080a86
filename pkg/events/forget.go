package events

import (
	"context"
	"fmt"

	"github.com/m3o/backend/pkg/database"
)

// Forget removes what consumers of the service keep of the events about an aggregate, under whichever prefix a service has put
// before it: those that came too early, are tried again, or are dead. What a consumer is handling in tx itself it may forget, too.
// Who waits for what was removed waits for Consumer.GapWait. It looks at every letter there is.
func (b *Bus) Forget(ctx context.Context, tx database.Querier, aggregate string) error {
	_, err := tx.Exec(ctx, `DELETE FROM `+b.store.letters+` WHERE aggregate = $1 OR aggregate LIKE '%/' || $1`, aggregate)
	if err != nil {
		return fmt.Errorf("forget letters: %w", err)
	}
	database.AfterCommit(ctx, b.look)
	return nil
}
