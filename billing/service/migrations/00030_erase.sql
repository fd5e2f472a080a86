-- +goose Up
ALTER TABLE billing_accounts ADD COLUMN erased BIGINT NOT NULL DEFAULT 0;  -- 1 when nothing is to be known of the customer
ALTER TABLE billing_accounts ADD COLUMN erasing BIGINT NOT NULL DEFAULT 0; -- 1 until the payment provider has erased them, too
CREATE INDEX billing_accounts_erasing ON billing_accounts (looked, customer_id) WHERE erasing = 1;

-- +goose Down
DROP INDEX billing_accounts_erasing;
ALTER TABLE billing_accounts DROP COLUMN erasing;
ALTER TABLE billing_accounts DROP COLUMN erased;
