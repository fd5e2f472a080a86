-- +goose Up
-- Who is on which tier. A customer who is missing is on the free one.
CREATE TABLE usage_customers (
    customer_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- UUID, in lower case
    tier           TEXT COLLATE "C" NOT NULL,
    monthly_quota  BIGINT           NOT NULL CHECK (monthly_quota >= 0), -- of the tier, as billing said
    changed        BIGINT           NOT NULL, -- when billing said so, and which of its events about the customer it was;
    sequence       BIGINT           NOT NULL, -- both 0 when it has not said anything
    override_quota BIGINT CHECK (override_quota >= 0), -- what an operator has set instead, NULL for nothing
    override_until BIGINT           NOT NULL -- until when; 0 without an end
) /* WITHOUT ROWID */;

-- How many requests a customer has made in a calendar month, so that it is known when the quota is reached without a look at
-- each counter, and by one of those who count at once. What a binary has counted that does not know the table is missing here
-- if it ran beside one that does, so that no answer is made of it.
CREATE TABLE usage_totals (
    customer_id TEXT COLLATE "C" NOT NULL,
    month       BIGINT           NOT NULL, -- when it began
    requests    BIGINT           NOT NULL CHECK (requests >= 0),
    told        BIGINT           NOT NULL DEFAULT 0, -- how many percent of the quota an event was published for: 0, 80 or 100
    PRIMARY KEY (customer_id, month)
) /* WITHOUT ROWID */;

-- +goose Down
DROP TABLE usage_totals;
DROP TABLE usage_customers;
