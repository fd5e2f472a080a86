-- +goose Up
-- How many requests a customer has made to an endpoint in a calendar month.
CREATE TABLE usage_monthly (
    customer_id TEXT COLLATE "C" NOT NULL, -- UUID, in lower case
    month       BIGINT           NOT NULL, -- when it began, in microseconds since 1970 UTC
    api         TEXT COLLATE "C" NOT NULL,
    endpoint    TEXT COLLATE "C" NOT NULL,
    requests    BIGINT           NOT NULL CHECK (requests >= 0),
    PRIMARY KEY (customer_id, month, api, endpoint)
);

-- +goose Down
DROP TABLE usage_monthly;
