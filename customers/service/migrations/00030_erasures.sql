-- +goose Up

-- Who has still to erase a customer, and who has: a row for each service.
CREATE TABLE customers_erasures (
    customer_id TEXT COLLATE "C" NOT NULL,
    service     TEXT COLLATE "C" NOT NULL,
    requested   BIGINT NOT NULL,
    erased      BIGINT NOT NULL, -- 0 for not yet
    PRIMARY KEY (customer_id, service)
) /* WITHOUT ROWID */;
CREATE INDEX customers_erasures_open ON customers_erasures (service, requested, customer_id) WHERE erased = 0;

-- Those who are deleted and not erased. One who is erased has no address.
CREATE INDEX customers_customers_deleted ON customers_customers (updated) WHERE status = 'inactive' AND email <> '';

-- +goose Down
DROP INDEX customers_customers_deleted;
DROP TABLE customers_erasures;
