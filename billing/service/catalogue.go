package service

import (
	"context"
	"fmt"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

const (
	maxEndpoints = 200
	maxPrices    = 10_000
	maxPrice     = 1_000_000_000_000
)

// Price is what a call of an endpoint costs.
type Price struct {
	API      string
	Endpoint string
	Price    int64 // millionths of a US dollar
}

// Endpoint is what can be called of an API.
type Endpoint struct {
	Name  string
	Price int64 // millionths of a US dollar
}

// PublishAPI replaces what the catalogue has of an API; without endpoints it takes the API out.
func (b *Billing) PublishAPI(ctx context.Context, api string, endpoints []Endpoint) error {
	if err := checkAPI(api, endpoints); err != nil {
		return err
	}
	return b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		if _, err := tx.Exec(ctx, `DELETE FROM billing_prices WHERE api = $1`, api); err != nil {
			return fmt.Errorf("take an API out of the catalogue: %w", err)
		}
		args := make([]any, 0, 3*len(endpoints))
		for _, e := range endpoints {
			args = append(args, api, e.Name, e.Price)
		}
		for from, to := range database.Chunks(len(endpoints)) {
			// Two who publish the same API at the same time both succeed, and the last one counts.
			_, err := tx.Exec(ctx, `
				INSERT INTO billing_prices (api, endpoint, price) VALUES `+database.Values(to-from, 3)+`
				ON CONFLICT (api, endpoint) DO UPDATE SET price = excluded.price`, args[3*from:3*to]...)
			if err != nil {
				return fmt.Errorf("put an API into the catalogue: %w", err)
			}
		}
		var n int
		if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM billing_prices`).Scan(&n); err != nil {
			return fmt.Errorf("count the catalogue: %w", err)
		}
		if n > maxPrices {
			return errors.Conflict("endpoints", "the catalogue would have more than %d endpoints: take another API out first", maxPrices)
		}
		return nil
	})
}

func checkAPI(api string, endpoints []Endpoint) error {
	if api == "" {
		return errors.Invalid("api_name", "required")
	}
	if !validAPI.MatchString(api) {
		return errors.Invalid("api_name", "must have 1 to 63 small letters, digits and hyphens, the first a letter")
	}
	if len(endpoints) > maxEndpoints {
		return errors.Invalid("endpoints", "must be at most %d", maxEndpoints)
	}
	seen := make(map[string]bool, len(endpoints))
	for i, e := range endpoints {
		field := fmt.Sprintf("endpoints[%d].", i)
		switch {
		case e.Name == "":
			return errors.Invalid(field+"name", "required")
		case !validEndpoint.MatchString(e.Name):
			return errors.Invalid(field+"name", "must have 1 to 64 letters and digits, the first a large letter")
		case seen[e.Name]:
			return errors.Invalid(field+"name", "must not be there twice")
		case e.Price < 0 || e.Price > maxPrice:
			return errors.Invalid(field+"price", "must be from 0 to %d millionths of a US dollar", int64(maxPrice))
		}
		seen[e.Name] = true
	}
	return nil
}

// Prices returns the catalogue, ordered by API and endpoint. It is asked for every second.
func (b *Billing) Prices(ctx context.Context) ([]Price, error) {
	rows, err := b.db.Read().Query(ctx, `SELECT api, endpoint, price FROM billing_prices ORDER BY api, endpoint`)
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	defer rows.Close()
	var prices []Price
	for rows.Next() {
		var p Price
		if err := rows.Scan(&p.API, &p.Endpoint, &p.Price); err != nil {
			return nil, fmt.Errorf("read the catalogue: %w", err)
		}
		prices = append(prices, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	return prices, nil
}
