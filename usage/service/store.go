package service

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
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

// insertBatch claims the name of a batch, and says whether it could. It waits for whoever is recording a batch of that name.
func insertBatch(ctx context.Context, tx database.Querier, b *batch) (bool, error) {
	result, err := tx.Exec(ctx, `
		INSERT INTO usage_batches (batch_id, digest, accepted, duplicates, recorded) VALUES ($1, $2, 0, 0, $3)
		ON CONFLICT (batch_id) DO NOTHING`,
		b.id, b.digest[:], b.recorded.UnixMicro())
	if err != nil {
		return false, fmt.Errorf("insert a batch: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// answerBatch remembers what is answered to a batch.
func answerBatch(ctx context.Context, tx database.Querier, id string, answer Recorded) error {
	_, err := tx.Exec(ctx, `UPDATE usage_batches SET accepted = $2, duplicates = $3 WHERE batch_id = $1`,
		id, answer.Accepted, answer.Duplicates)
	if err != nil {
		return fmt.Errorf("update a batch: %w", err)
	}
	return nil
}

// answerOf returns what was answered to a batch, if it is the same one.
func answerOf(ctx context.Context, tx database.Querier, b *batch) (Recorded, error) {
	var digest []byte
	var answer Recorded
	err := tx.QueryRow(ctx, `SELECT digest, accepted, duplicates FROM usage_batches WHERE batch_id = $1`, b.id).
		Scan(&digest, &answer.Accepted, &answer.Duplicates)
	if err != nil {
		return Recorded{}, fmt.Errorf("read a batch: %w", err)
	}
	if !bytes.Equal(digest, b.digest[:]) {
		return Recorded{}, errors.Conflict("batch_id", "names a batch of other requests: give each batch a name of its own")
	}
	return answer, nil
}

// sweep forgets requests and batches that became known before a time, at most limit of each, the oldest first.
func sweep(ctx context.Context, tx database.Querier, before time.Time, limit int) (int, error) {
	swept := 0
	for _, query := range []string{
		`DELETE FROM usage_requests WHERE id IN (
			SELECT id FROM usage_requests WHERE recorded < $1 ORDER BY recorded LIMIT $2)`,
		`DELETE FROM usage_batches WHERE batch_id IN (
			SELECT batch_id FROM usage_batches WHERE recorded < $1 ORDER BY recorded LIMIT $2)`,
	} {
		result, err := tx.Exec(ctx, query, before.UnixMicro(), limit)
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		swept += int(n)
	}
	return swept, nil
}
