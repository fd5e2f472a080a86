package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// Forwarded is an event that what stands in for Mixpanel has.
type Forwarded struct {
	// Name is what it is called there, such as customers_EventTypeSignup.
	Name string `json:"event"`
	// Properties are distinct_id (the customer's id), $insert_id, time (milliseconds since 1970) and those of its own.
	Properties map[string]any `json:"properties"`
}

// Forwarded returns the events that what stands in for Mixpanel has, the newest first and at most so many (1 to 100,000): of a
// name, of a customer, or of any where these are empty. Each is there once. They are forwarded soon after they happen, so that
// whoever waits for one asks again.
func (c *Client) Forwarded(ctx context.Context, name, customerID string, limit int) ([]Forwarded, error) {
	q := url.Values{"name": {name}, "distinct_id": {customerID}, "limit": {strconv.Itoa(limit)}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Sink+"/events?"+q.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("make a request for the sink: %w", err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the sink: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the sink: it answers %d", response.StatusCode)
	}
	var answer struct {
		Events []Forwarded `json:"events"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("ask the sink: read the answer: %w", err)
	}
	return answer.Events, nil
}
