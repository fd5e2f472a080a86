-- +goose Up
-- What the payment provider calls things is unique for it alone: its stand-in gives the same ids to everybody.
CREATE TABLE billing_accounts (
    customer_id          TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- UUID
    tier                 TEXT   NOT NULL,
    status               TEXT   NOT NULL CHECK (status IN ('none', 'active', 'past_due')),
    stripe_customer      TEXT COLLATE "C" NOT NULL, -- empty until there is a card to add
    subscription         TEXT COLLATE "C" NOT NULL, -- empty without one
    card                 TEXT COLLATE "C" NOT NULL, -- which pays for the subscription
    period_end           BIGINT NOT NULL,           -- 0 without a subscription
    cancel_at_period_end BIGINT NOT NULL,           -- 0 or 1
    closed               BIGINT NOT NULL,           -- 1 when the customer is deleted
    version              BIGINT NOT NULL,
    created              BIGINT NOT NULL,
    updated              BIGINT NOT NULL
);
CREATE INDEX billing_accounts_stripe_customer ON billing_accounts (stripe_customer) WHERE stripe_customer <> '';
CREATE INDEX billing_accounts_ending ON billing_accounts (period_end) WHERE cancel_at_period_end = 1;
CREATE INDEX billing_accounts_closed ON billing_accounts (customer_id) WHERE closed = 1 AND subscription <> '';

CREATE TABLE billing_cards (
    customer_id TEXT COLLATE "C" NOT NULL,
    card_id     TEXT COLLATE "C" NOT NULL,
    brand       TEXT   NOT NULL,
    last4       TEXT   NOT NULL,
    exp_month   BIGINT NOT NULL,
    exp_year    BIGINT NOT NULL,
    added       BIGINT NOT NULL,
    removed     BIGINT NOT NULL, -- 0 while it is there; a card that was removed never comes back
    detached    BIGINT NOT NULL, -- 1 when the payment provider knows that it was removed
    PRIMARY KEY (customer_id, card_id)
);
CREATE INDEX billing_cards_undetached ON billing_cards (removed) WHERE removed > 0 AND detached = 0;

-- What is asked of the payment provider is written down before, so that whoever comes after a crash finishes it under the
-- same name.
CREATE TABLE billing_operations (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- UUID version 7
    customer_id     TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL, -- the caller's; the id where the caller has none
    digest          TEXT   NOT NULL,           -- of what was asked
    kind            TEXT   NOT NULL CHECK (kind IN ('subscribe', 'cancel', 'cancel_at_period_end')),
    tier            TEXT   NOT NULL,
    price_id        TEXT   NOT NULL, -- empty for a tier that costs nothing
    card            TEXT   NOT NULL,
    caller_id       TEXT   NOT NULL,
    state           TEXT   NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
    answer          TEXT   NOT NULL, -- JSON; empty while it is pending
    created         BIGINT NOT NULL,
    tried           BIGINT NOT NULL  -- when it was last begun
);
CREATE UNIQUE INDEX billing_operations_key ON billing_operations (customer_id, idempotency_key);
-- One at a time: this is what keeps a customer from having two subscriptions.
CREATE UNIQUE INDEX billing_operations_pending ON billing_operations (customer_id) WHERE state = 'pending';
CREATE INDEX billing_operations_tried ON billing_operations (tried) WHERE state = 'pending';
CREATE INDEX billing_operations_created ON billing_operations (created) WHERE state <> 'pending';

CREATE TABLE billing_webhooks (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    received BIGINT NOT NULL
);
CREATE INDEX billing_webhooks_received ON billing_webhooks (received);

CREATE TABLE billing_prices (
    api      TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    price    BIGINT NOT NULL, -- millionths of a US dollar
    PRIMARY KEY (api, endpoint)
);

-- +goose Down
DROP TABLE billing_prices;
DROP TABLE billing_webhooks;
DROP TABLE billing_operations;
DROP TABLE billing_cards;
DROP TABLE billing_accounts;
