-- +goose Up

-- What has become of the events of each topic.
CREATE TABLE mixpanel_topics (
    topic      TEXT COLLATE "C" PRIMARY KEY,
    forwarded  BIGINT NOT NULL,
    ignored    BIGINT NOT NULL,
    last_event BIGINT NOT NULL, -- when the newest one happened, microseconds since 1970
    lag        BIGINT NOT NULL  -- how much later it was handled, microseconds
);

-- +goose Down
DROP TABLE mixpanel_topics;
