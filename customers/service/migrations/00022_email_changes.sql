-- +goose Up

-- The last change of the address that each customer has asked for: whatever is before it is good no longer. Forgotten an hour
-- after it has expired.
CREATE TABLE customers_email_changes (
    customer_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    request     TEXT   NOT NULL, -- UUID of the request, so that what is sent late does not answer a newer one
    email       TEXT   NOT NULL, -- the address that is asked for
    old_key     TEXT   NOT NULL, -- the one to be replaced, without regard to case
    hash        TEXT   NOT NULL, -- SHA-256 of the token that was sent; empty when none is good
    wrong       BIGINT NOT NULL, -- how many wrong tokens were tried
    confirmed   BIGINT NOT NULL, -- 1 when the token was used
    expires     BIGINT NOT NULL, -- this and the other times: microseconds since 1970 UTC
    mail_due    BIGINT NOT NULL, -- when the mails are to be sent, if nobody has until then; 0 when they were
    hour        BIGINT NOT NULL, -- when the hour began in which requests are counted
    requests    BIGINT NOT NULL  -- in that hour
);
CREATE INDEX customers_email_changes_due ON customers_email_changes (mail_due) WHERE mail_due > 0;
CREATE INDEX customers_email_changes_expires ON customers_email_changes (expires);

-- +goose Down
DROP TABLE customers_email_changes;
