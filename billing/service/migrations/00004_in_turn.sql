-- +goose Up
DROP INDEX billing_accounts_closed;
CREATE INDEX billing_accounts_closed ON billing_accounts (looked, customer_id) WHERE closed = 1 AND subscription <> '';
ALTER TABLE billing_cards ADD COLUMN tried BIGINT NOT NULL DEFAULT 0; -- when the payment provider was last told of the removal
DROP INDEX billing_cards_undetached;
CREATE INDEX billing_cards_undetached ON billing_cards (tried, removed) WHERE removed > 0 AND detached = 0;

-- +goose Down
DROP INDEX billing_cards_undetached;
CREATE INDEX billing_cards_undetached ON billing_cards (removed) WHERE removed > 0 AND detached = 0;
ALTER TABLE billing_cards DROP COLUMN tried;
DROP INDEX billing_accounts_closed;
CREATE INDEX billing_accounts_closed ON billing_accounts (customer_id) WHERE closed = 1 AND subscription <> '';
