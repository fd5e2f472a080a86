-- +goose Up

-- What a deleted customer was before, which Undelete gives back. Of customers whom an earlier version has deleted it is not
-- known: NULL, as banned if they were banned before, or else as the least that they can have been, awaiting_verification.
ALTER TABLE customers_customers ADD COLUMN before_delete TEXT;

-- +goose Down
ALTER TABLE customers_customers DROP COLUMN before_delete;
