-- +goose Up
-- How many requests a customer has made to an endpoint in a day.
CREATE TABLE usage_daily (
    customer_id TEXT COLLATE "C" NOT NULL, -- UUID, in lower case
    day         BIGINT           NOT NULL, -- when it began, in microseconds since 1970 UTC
    api         TEXT COLLATE "C" NOT NULL,
    endpoint    TEXT COLLATE "C" NOT NULL,
    requests    BIGINT           NOT NULL CHECK (requests >= 0),
    PRIMARY KEY (customer_id, day, api, endpoint)
) /* WITHOUT ROWID */;

-- The requests that are known, so that each is accepted once and counted once. SQLite keeps a BYTEA as it is given.
CREATE TABLE usage_requests (
    id       BYTEA  NOT NULL PRIMARY KEY, -- UUID, 16 bytes
    mark     BIGINT NOT NULL,             -- of the transaction that counted it; below 0, of the one that accepted it: to be counted
    recorded BIGINT NOT NULL              -- when it became known
) /* WITHOUT ROWID */;
CREATE INDEX usage_requests_recorded ON usage_requests (recorded);

-- The batches that were recorded, and what was answered.
CREATE TABLE usage_batches (
    batch_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    digest     BYTEA  NOT NULL, -- SHA-256 of its requests
    accepted   BIGINT NOT NULL,
    duplicates BIGINT NOT NULL,
    recorded   BIGINT NOT NULL  -- when
) /* WITHOUT ROWID */;
CREATE INDEX usage_batches_recorded ON usage_batches (recorded);

-- +goose Down
DROP TABLE usage_batches;
DROP TABLE usage_requests;
DROP TABLE usage_daily;
