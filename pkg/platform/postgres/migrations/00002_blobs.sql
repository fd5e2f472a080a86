-- +goose Up

CREATE SEQUENCE store_blob_ids;

-- Each time that a blob is written it is another row, with chunks of its own.
CREATE TABLE store_blobs (
    id           BIGINT PRIMARY KEY,
    namespace    BYTEA NOT NULL,
    key          BYTEA NOT NULL,
    size         BIGINT NOT NULL,
    public       BOOLEAN NOT NULL,
    content_type BYTEA NOT NULL,
    replaced     TIMESTAMPTZ -- or deleted; NULL for the one that is read
);

CREATE UNIQUE INDEX store_blobs_current ON store_blobs (namespace, key) WHERE replaced IS NULL;
CREATE INDEX store_blobs_replaced ON store_blobs (replaced) WHERE replaced IS NOT NULL;

CREATE TABLE store_chunks (
    blob   BIGINT NOT NULL,
    number INTEGER NOT NULL, -- from 0
    data   BYTEA NOT NULL,
    PRIMARY KEY (blob, number)
);

-- What is kept here is compressed already, or not worth it.
ALTER TABLE store_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

-- +goose Down
DROP TABLE store_chunks;
DROP TABLE store_blobs;
DROP SEQUENCE store_blob_ids;
