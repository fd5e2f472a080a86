-- +goose Up
-- What is known of a visitor. A column without a value is something that nobody has said yet.
CREATE TABLE signup_tracks (
    id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    email              TEXT,
    first_visit        BIGINT, -- this and the other times: microseconds since 1970 UTC
    first_verification BIGINT,
    registration       BIGINT,
    referrer           TEXT
);

-- +goose Down
DROP TABLE signup_tracks;
