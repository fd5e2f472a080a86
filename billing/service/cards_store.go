package service

import (
	"context"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
)

// maxCards is how many cards of a customer are listed.
const maxCards = 100

// removedCard stands for a card that was removed.
var removedCard = Card{Brand: "removed"}

func (c Card) gone() bool { return c == removedCard }

// insertCard adds a card to a customer unless they have it, or had it, and says whether it did.
func insertCard(ctx context.Context, tx database.Querier, id string, c Card, now time.Time) (bool, error) {
	added, err := affected(tx.Exec(ctx, `
		INSERT INTO billing_cards (customer_id, card_id, brand, last4, exp_month, exp_year, added, removed, detached)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)
		ON CONFLICT (customer_id, card_id) DO NOTHING`,
		id, c.ID, c.Brand, c.Last4, c.ExpMonth, c.ExpYear, now.UnixMicro()))
	if err != nil {
		return false, fmt.Errorf("insert a card: %w", err)
	}
	return added, nil
}

// updateCard writes what has changed of a card: banks renew them.
func updateCard(ctx context.Context, tx database.Querier, id string, c Card) error {
	_, err := tx.Exec(ctx, `
		UPDATE billing_cards SET brand = $3, last4 = $4, exp_month = $5, exp_year = $6 WHERE customer_id = $1 AND card_id = $2`,
		id, c.ID, c.Brand, c.Last4, c.ExpMonth, c.ExpYear)
	if err != nil {
		return fmt.Errorf("update a card: %w", err)
	}
	return nil
}

func hasCard(ctx context.Context, q database.Reader, id, cardID string) (bool, error) {
	var n int
	err := q.QueryRow(ctx, `
		SELECT COUNT(*) FROM billing_cards WHERE customer_id = $1 AND card_id = $2 AND removed = 0`, id, cardID).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("read a card: %w", err)
	}
	return n > 0, nil
}

// listCards returns the cards that a customer has.
func listCards(ctx context.Context, q database.Reader, id string) ([]Card, error) {
	return queryCards(ctx, q, `WHERE customer_id = $1 AND removed = 0 ORDER BY card_id LIMIT $2`, id, maxCards)
}

// allCards returns the cards of a customer by their ids, also those that were removed.
func allCards(ctx context.Context, q database.Reader, id string) (map[string]Card, error) {
	all := make(map[string]Card)
	there, err := queryCards(ctx, q, `WHERE customer_id = $1 AND removed = 0`, id)
	if err != nil {
		return nil, err
	}
	for _, c := range there {
		all[c.ID] = c
	}
	gone, err := queryCards(ctx, q, `WHERE customer_id = $1 AND removed > 0`, id)
	for _, c := range gone {
		all[c.ID] = removedCard
	}
	return all, err
}

func queryCards(ctx context.Context, q database.Reader, where string, args ...any) ([]Card, error) {
	rows, err := q.Query(ctx, `SELECT card_id, brand, last4, exp_month, exp_year FROM billing_cards `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list cards: %w", err)
	}
	defer rows.Close()
	var cards []Card
	for rows.Next() {
		var c Card
		if err := rows.Scan(&c.ID, &c.Brand, &c.Last4, &c.ExpMonth, &c.ExpYear); err != nil {
			return nil, fmt.Errorf("list cards: %w", err)
		}
		cards = append(cards, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list cards: %w", err)
	}
	return cards, nil
}
