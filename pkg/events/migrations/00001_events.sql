-- +goose Up

-- What is to be published. Rows are there until the stream has them for good.
CREATE TABLE SERVICE_outbox (
    position  BIGSERIAL PRIMARY KEY,
    id        BYTEA  NOT NULL, -- UUID
    topic     TEXT   NOT NULL,
    type      TEXT   NOT NULL,
    cause     TEXT   NOT NULL,
    aggregate TEXT   NOT NULL,
    sequence  BIGINT NOT NULL, -- 0 without an aggregate
    time      BIGINT NOT NULL, -- nanoseconds since 1970
    payload   BYTEA  NOT NULL,
    published BIGINT NOT NULL  -- when the stream has acknowledged it, seconds since 1970; 0 before, -1 if it refuses it
);
CREATE INDEX SERVICE_outbox_waiting ON SERVICE_outbox (position) WHERE published = 0;

-- How many events there were about each aggregate of a topic.
CREATE TABLE SERVICE_sequences (
    topic     TEXT   NOT NULL,
    aggregate TEXT   NOT NULL,
    sequence  BIGINT NOT NULL,
    PRIMARY KEY (topic, aggregate)
) /* WITHOUT ROWID */;

-- What each consumer has taken in.
CREATE TABLE SERVICE_inbox (
    consumer TEXT   NOT NULL,
    id       BYTEA  NOT NULL,
    received BIGINT NOT NULL, -- seconds since 1970
    PRIMARY KEY (consumer, id)
) /* WITHOUT ROWID */;
CREATE INDEX SERVICE_inbox_received ON SERVICE_inbox (received);

-- How far each consumer has come with each aggregate.
CREATE TABLE SERVICE_positions (
    consumer  TEXT   NOT NULL,
    aggregate TEXT   NOT NULL,
    sequence  BIGINT NOT NULL,
    PRIMARY KEY (consumer, aggregate)
) /* WITHOUT ROWID */;

-- What a consumer has taken in and not handled: it came too early, it is tried again, or it is dead.
CREATE TABLE SERVICE_letters (
    consumer  TEXT COLLATE "C" NOT NULL,
    id        BYTEA  NOT NULL,
    state     TEXT   NOT NULL CHECK (state IN ('early', 'retry', 'dead')),
    topic     TEXT COLLATE "C" NOT NULL,
    type      TEXT   NOT NULL,
    cause     TEXT   NOT NULL,
    aggregate TEXT   NOT NULL,
    sequence  BIGINT NOT NULL,
    time      BIGINT NOT NULL, -- nanoseconds since 1970
    payload   BYTEA  NOT NULL,
    attempts  BIGINT NOT NULL,
    next      BIGINT NOT NULL, -- when something is done about it, microseconds since 1970
    failed    BIGINT NOT NULL, -- when it failed last, microseconds since 1970; 0 if it has not
    reason    TEXT   NOT NULL,
    PRIMARY KEY (consumer, id)
);
CREATE INDEX SERVICE_letters_due ON SERVICE_letters (consumer, state, next);
CREATE INDEX SERVICE_letters_aggregate ON SERVICE_letters (consumer, aggregate, sequence);
CREATE INDEX SERVICE_letters_state ON SERVICE_letters (state, id, consumer);
CREATE INDEX SERVICE_letters_topic ON SERVICE_letters (state, topic, id, consumer);

-- +goose Down
DROP TABLE SERVICE_letters;
DROP TABLE SERVICE_positions;
DROP TABLE SERVICE_inbox;
DROP TABLE SERVICE_sequences;
DROP TABLE SERVICE_outbox;
