-- +goose Up

-- List goes by the time of creation, and can be narrowed to some of it: the order of ids is nearly that, but not quite.
CREATE INDEX customers_customers_created ON customers_customers (created, id);
CREATE INDEX customers_customers_status_created ON customers_customers (status, created, id);
DROP INDEX customers_customers_status;

-- +goose Down
CREATE INDEX customers_customers_status ON customers_customers (status, id);
DROP INDEX customers_customers_status_created;
DROP INDEX customers_customers_created;
