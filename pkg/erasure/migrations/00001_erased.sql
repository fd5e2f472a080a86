-- +goose Up

-- Who was erased, so that what comes late brings nobody back.
CREATE TABLE SERVICE_erased (
    customer_id TEXT   NOT NULL PRIMARY KEY,
    erased      BIGINT NOT NULL -- microseconds since 1970
);

-- +goose Down
DROP TABLE SERVICE_erased;
