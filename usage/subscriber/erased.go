package subscriber

import (
	"context"
	"slices"
	"strings"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/usage/service"
)

// Erased tells which of some customers are erased.
type Erased func(ctx context.Context, q database.Reader, customerIDs ...string) (map[string]bool, error)

// WithoutErased returns a core that counts nothing for customers who are erased: what they have called shortly before comes late.
func WithoutErased(core Core, erased Erased) Core { return withoutErased{core, erased} }

type withoutErased struct {
	Core
	erased Erased
}

// Count counts the requests of those who are still there.
func (w withoutErased) Count(ctx context.Context, tx database.Querier, requests []service.Request) error {
	ids := make([]string, len(requests))
	for i := range requests {
		ids[i] = strings.ToLower(requests[i].CustomerID)
	}
	slices.Sort(ids)
	gone, err := w.erased(ctx, tx, slices.Compact(ids)...)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		requests = slices.DeleteFunc(slices.Clone(requests), func(r service.Request) bool {
			return gone[strings.ToLower(r.CustomerID)]
		})
	}
	return w.Core.Count(ctx, tx, requests)
}
