-- +goose Up
CREATE TABLE SERVICE_leases (
    name   TEXT   NOT NULL PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL -- by the clock of the database
);

-- +goose Down
DROP TABLE SERVICE_leases;
