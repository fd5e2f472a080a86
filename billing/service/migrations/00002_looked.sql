-- +goose Up
-- Of whom the payment provider is asked is noted before, so that those with whom that fails do not keep others from it.
ALTER TABLE billing_accounts ADD COLUMN looked BIGINT NOT NULL DEFAULT 0; -- when it was last asked about by the clock
-- Every subscription whose time is over is asked about, as the news of a renewal gets lost as well as that of an end.
DROP INDEX billing_accounts_ending;
CREATE INDEX billing_accounts_over ON billing_accounts (period_end) WHERE subscription <> '';

-- +goose Down
DROP INDEX billing_accounts_over;
CREATE INDEX billing_accounts_ending ON billing_accounts (period_end) WHERE cancel_at_period_end = 1;
ALTER TABLE billing_accounts DROP COLUMN looked;
