-- +goose Up

-- Names and keys are bytes: they are ordered as Go orders strings, whatever the database's language is, and none needs to be
-- refused for what is in it. psql takes them as text, and shows them as such after SET bytea_output = escape.
CREATE TABLE store_records (
    in_database BYTEA NOT NULL,
    in_table    BYTEA NOT NULL,
    key         BYTEA NOT NULL,
    value       BYTEA NOT NULL,
    metadata    BYTEA,       -- a JSON object, or NULL for none
    expires     TIMESTAMPTZ, -- NULL for never
    PRIMARY KEY (in_database, in_table, key)
) WITH (fillfactor = 90); -- so that a record that is written again finds its place on the same page

CREATE INDEX store_records_expires ON store_records (expires) WHERE expires IS NOT NULL;

-- +goose Down
DROP TABLE store_records;
