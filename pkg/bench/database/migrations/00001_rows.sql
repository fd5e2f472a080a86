-- +goose Up
CREATE TABLE bench_rows (
    id    BIGINT PRIMARY KEY,
    value TEXT NOT NULL
);

-- +goose Down
DROP TABLE bench_rows;
