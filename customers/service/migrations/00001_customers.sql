-- +goose Up
CREATE TABLE customers_customers (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- UUID version 7: its order is that of creation
    status    TEXT   NOT NULL CHECK (status IN ('awaiting_verification', 'verified', 'active', 'inactive', 'banned')),
    email     TEXT   NOT NULL,
    email_key TEXT COLLATE "C" NOT NULL, -- the address without regard to case
    name      TEXT   NOT NULL,
    name_key  TEXT COLLATE "C" NOT NULL, -- the name without regard to case
    meta      TEXT   NOT NULL,           -- a JSON object of strings
    version   BIGINT NOT NULL,
    created   BIGINT NOT NULL,
    updated   BIGINT NOT NULL
);

-- One index for each order that List pages in, with and without a status.
CREATE UNIQUE INDEX customers_customers_email ON customers_customers (email_key);
CREATE INDEX customers_customers_name ON customers_customers (name_key, id);
CREATE INDEX customers_customers_status ON customers_customers (status, id);
CREATE INDEX customers_customers_status_email ON customers_customers (status, email_key);
CREATE INDEX customers_customers_status_name ON customers_customers (status, name_key, id);

-- +goose Down
DROP TABLE customers_customers;
