-- +goose Up
ALTER TABLE billing_operations ADD COLUMN subscription TEXT COLLATE "C" NOT NULL DEFAULT ''; -- the one it is about; empty to make one
-- Those on their way are about the one that there is.
UPDATE billing_operations SET subscription = COALESCE(
    (SELECT subscription FROM billing_accounts WHERE billing_accounts.customer_id = billing_operations.customer_id), '')
WHERE state = 'pending';

-- +goose Down
ALTER TABLE billing_operations DROP COLUMN subscription;
