-- +goose Up
-- By which the tracks of somebody who is erased are found, and their tokens, whatever their address was then.
CREATE INDEX signup_tracks_email ON signup_tracks (LOWER(email)) WHERE email IS NOT NULL;
CREATE INDEX signup_tokens_customer ON signup_tokens (customer_id) WHERE customer_id <> '';

-- +goose Down
DROP INDEX signup_tokens_customer;
DROP INDEX signup_tracks_email;
