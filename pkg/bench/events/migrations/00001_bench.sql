-- +goose Up
CREATE TABLE bench_states (
    id    TEXT   NOT NULL PRIMARY KEY,
    value TEXT   NOT NULL
);
CREATE TABLE bench_counts (
    customer TEXT   NOT NULL PRIMARY KEY,
    events   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE bench_counts;
DROP TABLE bench_states;
