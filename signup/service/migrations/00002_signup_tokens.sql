-- +goose Up

-- The newest token of each address, for each thing that it can be good for. A token that was used has no row.
CREATE TABLE signup_tokens (
    address       TEXT COLLATE "C" NOT NULL, -- SHA-256 of the address without regard to case
    purpose       TEXT   NOT NULL CHECK (purpose IN ('verify', 'reset')),
    hash          TEXT   NOT NULL, -- SHA-256 of the token; empty when none is good
    customer_id   TEXT   NOT NULL, -- whom it was made for; empty when none is good
    expires       BIGINT NOT NULL, -- this and the other times: microseconds since 1970 UTC
    wrong         BIGINT NOT NULL, -- how many wrong tokens were tried
    claim         TEXT   NOT NULL, -- the call that works with it, until claimed_until; empty for none
    claimed_until BIGINT NOT NULL,
    activating    BIGINT NOT NULL, -- 1 from when the customer is about to become active by it
    PRIMARY KEY (address, purpose)
);
CREATE INDEX signup_tokens_expires ON signup_tokens (expires);

-- Where mails were sent to within the last hour.
CREATE TABLE signup_mails (
    address TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- as above
    sent    TEXT   NOT NULL, -- when, with spaces between them
    expires BIGINT NOT NULL  -- when the last of them is an hour old
);
CREATE INDEX signup_mails_expires ON signup_mails (expires);

-- Mails that are still to be sent to people who have signed up.
CREATE TABLE signup_welcomes (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- of the event that says so: a UUID
    email    TEXT   NOT NULL,
    written  BIGINT NOT NULL,
    attempts BIGINT NOT NULL, -- that have failed
    due      BIGINT NOT NULL -- when the next attempt is; 0 for at once
);
CREATE INDEX signup_welcomes_due ON signup_welcomes (due);

-- +goose Down
DROP TABLE signup_welcomes;
DROP TABLE signup_mails;
DROP TABLE signup_tokens;
