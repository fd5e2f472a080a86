-- +goose Up

-- What the customer was before the ban, which gives it back. Of customers whom an earlier version has banned it is not
-- known: NULL, as the least that they can have been, awaiting_verification.
ALTER TABLE customers_customers ADD COLUMN before_ban TEXT;

-- Changes of a status after which the auth service has still to be told whether the customer may log in. Each is a row of
-- its own, so that one who is told late does not make the change of another look as if it were done.
CREATE TABLE customers_unsettled (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- UUID version 7
    customer_id TEXT COLLATE "C" NOT NULL,
    made        BIGINT NOT NULL
);

CREATE TABLE customers_keys (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- UUID version 7: its order is that of creation
    customer_id TEXT COLLATE "C" NOT NULL REFERENCES customers_customers (id),
    hash        TEXT COLLATE "C" NOT NULL, -- of the key, which is kept nowhere: SHA-256 in base64
    prefix      TEXT   NOT NULL,           -- what the key begins with, for its owner
    scopes      TEXT   NOT NULL,           -- with a space between each two
    description TEXT   NOT NULL,
    created     BIGINT NOT NULL,
    expires     BIGINT NOT NULL,           -- 0 for never
    revoked     BIGINT NOT NULL            -- 0 for not
);

CREATE UNIQUE INDEX customers_keys_hash ON customers_keys (hash);
CREATE INDEX customers_keys_customer ON customers_keys (customer_id, id) WHERE revoked = 0;
CREATE INDEX customers_keys_revoked ON customers_keys (revoked) WHERE revoked <> 0;

-- +goose Down
DROP TABLE customers_keys;
DROP TABLE customers_unsettled;
ALTER TABLE customers_customers DROP COLUMN before_ban;
