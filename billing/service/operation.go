package service

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// operationKind is what an operation does.
type operationKind string

const (
	subscribe         operationKind = "subscribe"
	cancel            operationKind = "cancel"
	cancelAtPeriodEnd operationKind = "cancel_at_period_end"
)

// operationState is how far an operation is.
type operationState string

const (
	pending operationState = "pending" // it may have been carried out
	done    operationState = "done"
	failed  operationState = "failed" // it was refused, and has changed nothing
)

// operation is something that the payment provider is asked for.
type operation struct {
	id         string // a UUID of version 7, which names it at the provider
	customerID string
	key        string // the caller's, or the id
	digest     string
	kind       operationKind
	tier       string // of subscribe
	priceID    string // of subscribe; empty when the tier costs nothing
	card       string // of subscribe; empty when the tier costs nothing
	callerID   string
	// subscription is the one that the customer had when it was begun, which it is about; empty when they had none.
	subscription string
	state        operationState
	answer       string
	created      time.Time
	// again says that somebody may have begun it before.
	again bool
}

// digestOf tells requests under the same key apart.
func digestOf(tier, card string) string {
	sum := sha256.Sum256([]byte(tier + "\x00" + card))
	return hex.EncodeToString(sum[:])
}

// answer is what was answered, as it is kept.
type answer struct {
	Tier              string `json:"tier,omitempty"`
	Status            Status `json:"status,omitempty"`
	PeriodEnd         int64  `json:"period_end,omitempty"` // microseconds since 1970, UTC
	CancelAtPeriodEnd bool   `json:"cancel_at_period_end,omitempty"`

	// Kind is not 0 when it was a refusal.
	Kind   errors.Kind `json:"kind,omitempty"`
	Field  string      `json:"field,omitempty"`
	Detail string      `json:"detail,omitempty"`
}

func answerOf(a Account) answer {
	kept := answer{Tier: a.Tier, Status: a.Status, CancelAtPeriodEnd: a.CancelAtPeriodEnd}
	if !a.PeriodEnd.IsZero() {
		kept.PeriodEnd = a.PeriodEnd.UnixMicro()
	}
	return kept
}

// refusalOf is how an error is kept. What an error of no kind says is not for the caller, and is in the log.
func refusalOf(err error) answer {
	if e, ok := stderrors.AsType[*errors.Error](err); ok {
		return answer{Kind: e.Kind, Field: e.Field, Detail: e.Detail}
	}
	return answer{Kind: errors.KindInternal, Detail: "the payment provider has refused it"}
}

// replay answers as the operation was answered.
func (o *operation) replay() (Account, error) {
	var a answer
	if err := json.Unmarshal([]byte(o.answer), &a); err != nil {
		return Account{}, fmt.Errorf("read the answer of operation %s: %w", o.id, err)
	}
	if a.Kind != 0 {
		return Account{}, &errors.Error{Kind: a.Kind, Field: a.Field, Detail: a.Detail}
	}
	account := Account{CustomerID: o.customerID, Tier: a.Tier, Status: a.Status, CancelAtPeriodEnd: a.CancelAtPeriodEnd}
	if a.PeriodEnd != 0 {
		account.PeriodEnd = time.UnixMicro(a.PeriodEnd).UTC()
	}
	return account, nil
}

const operationColumns = `id, customer_id, idempotency_key, digest, kind, tier, price_id, card, caller_id, state, answer, created,
	subscription`

func insertOperation(ctx context.Context, tx database.Querier, o *operation) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO billing_operations (`+operationColumns+`, tried)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12)`,
		o.id, o.customerID, o.key, o.digest, o.kind, o.tier, o.priceID, o.card, o.callerID, o.state, o.answer, o.created.UnixMicro(),
		o.subscription)
	if err != nil {
		return fmt.Errorf("insert an operation: %w", err)
	}
	return nil
}

// findOperation returns the operation that a query selects, or nil. The query is the part after WHERE.
func findOperation(ctx context.Context, q database.Reader, where string, args ...any) (*operation, error) {
	var o operation
	var created int64
	err := q.QueryRow(ctx, `SELECT `+operationColumns+` FROM billing_operations WHERE `+where, args...).
		Scan(&o.id, &o.customerID, &o.key, &o.digest, &o.kind, &o.tier, &o.priceID, &o.card, &o.callerID, &o.state, &o.answer, &created,
			&o.subscription)
	if stderrors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read an operation: %w", err)
	}
	o.created = time.UnixMicro(created).UTC()
	return &o, nil
}

// endOperation writes what has become of a pending operation.
func endOperation(ctx context.Context, tx database.Querier, id string, state operationState, a answer) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE billing_operations SET state = $2, answer = $3 WHERE id = $1`, id, state, string(text))
	if err != nil {
		return fmt.Errorf("end an operation: %w", err)
	}
	return nil
}

// tryOperation notes that an operation is carried out again.
func tryOperation(ctx context.Context, tx database.Querier, id string, now time.Time) error {
	if _, err := tx.Exec(ctx, `UPDATE billing_operations SET tried = $2 WHERE id = $1`, id, now.UnixMicro()); err != nil {
		return fmt.Errorf("note that an operation is tried again: %w", err)
	}
	return nil
}
