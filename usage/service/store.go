package service

import (
	"context"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
)

// totalOfMonth adds up what a customer has called in a month.
func totalOfMonth(ctx context.Context, q database.Reader, customerID string, month time.Time) (Total, error) {
	var t Total
	// PostgreSQL's sum of whole numbers is not a whole number by itself.
	err := q.QueryRow(ctx, `
		SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT) FROM usage_monthly
		WHERE customer_id = $1 AND month = $2`,
		customerID, month.UnixMicro()).Scan(&t.Requests)
	if err != nil {
		return Total{}, fmt.Errorf("read the total of a month: %w", err)
	}
	return t, nil
}

// endpointsOfMonth reads what a customer has called in a month, and adds it up itself: a second query might see more.
func endpointsOfMonth(ctx context.Context, q database.Reader, customerID string, month time.Time) (Total, error) {
	rows, err := q.Query(ctx, `
		SELECT api, endpoint, requests FROM usage_monthly
		WHERE customer_id = $1 AND month = $2`,
		customerID, month.UnixMicro())
	if err != nil {
		return Total{}, fmt.Errorf("read the endpoints of a month: %w", err)
	}
	defer rows.Close()
	t := Total{Endpoints: make(map[string]int64)}
	for rows.Next() {
		var api, endpoint string
		var requests int64
		if err := rows.Scan(&api, &endpoint, &requests); err != nil {
			return Total{}, fmt.Errorf("read the endpoints of a month: %w", err)
		}
		t.Requests += requests
		// Added, so that the parts are the whole even if a name should have a slash.
		t.Endpoints[api+"/"+endpoint] += requests
	}
	if err := rows.Err(); err != nil {
		return Total{}, fmt.Errorf("read the endpoints of a month: %w", err)
	}
	return t, nil
}
