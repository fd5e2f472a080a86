-- +goose Up

-- The key that has the place of this one, which goes on until it expires; '' while none has.
ALTER TABLE customers_keys ADD COLUMN successor TEXT COLLATE "C" NOT NULL DEFAULT '';

-- What callers with the key are told, while an operator has blocked it; '' while none has.
ALTER TABLE customers_keys ADD COLUMN blocked TEXT NOT NULL DEFAULT '';

-- When the key was last seen, to the minute; 0 for never.
ALTER TABLE customers_keys ADD COLUMN last_seen BIGINT NOT NULL DEFAULT 0;

-- For those whose grace is over.
CREATE INDEX customers_keys_rotated ON customers_keys (expires) WHERE successor <> '' AND revoked = 0;

-- +goose Down
DROP INDEX customers_keys_rotated;
ALTER TABLE customers_keys DROP COLUMN last_seen;
ALTER TABLE customers_keys DROP COLUMN blocked;
ALTER TABLE customers_keys DROP COLUMN successor;
