// Package client uses a platform as a person does: over HTTP and with `micro call`.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/m3o/backend/pkg/platform/state"
)

// Client talks to one platform.
type Client struct {
	// API is the address of the HTTP API, as in http://127.0.0.1:8080.
	API string
	// Proxy is the address that the command line talks to, as in 127.0.0.1:8081.
	Proxy string
	// Sink is the address of what stands in for Mixpanel, as in http://127.0.0.1:8090; see Forwarded.
	Sink string
	// Micro is the path of the micro binary and State the platform's state directory.
	Micro, State string
	// Env is added to the command line's environment.
	Env []string
	// HTTP makes the requests; http.DefaultClient where it is nil.
	HTTP *http.Client
	// Token is what requests over HTTP have; none where it is empty.
	Token string
	// Key is the API key that they have; none where it is empty.
	Key string
}

// As returns a client whose requests over HTTP have a token.
func (c *Client) As(token string) *Client {
	other := *c
	other.Token = token
	return &other
}

// WithKey returns a client whose requests over HTTP have an API key, and no token.
func (c *Client) WithKey(key string) *Client {
	other := *c
	other.Token, other.Key = "", key
	return &other
}

// Answer is what came back over HTTP.
type Answer struct {
	Code int
	Body []byte
}

// Fields returns the answer as a JSON object; nil if it is none.
func (a Answer) Fields() map[string]any {
	var fields map[string]any
	if json.Unmarshal(a.Body, &fields) != nil {
		return nil
	}
	return fields
}

// Local is the client of the platform whose state directory is dir.
func Local(dir, micro string) (*Client, error) {
	if err := state.Use(dir); err != nil {
		return nil, err
	}
	addresses, err := state.LoadAddresses()
	if err != nil {
		return nil, err
	}
	return &Client{
		API: "http://" + addresses.Of("api"), Proxy: addresses.Of("proxy"), Sink: "http://" + addresses.StandIn("mixpanel"),
		Micro: micro, State: dir,
	}, nil
}

// Post sends body, which is sent as it is, to a path like /customers/Create.
func (c *Client) Post(ctx context.Context, path, body string) (Answer, error) {
	return c.Do(ctx, http.MethodPost, path, body)
}

// Do sends any request.
func (c *Client) Do(ctx context.Context, method, path, body string) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.API+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("make a request for %s: %w", path, err)
	}
	r.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Key != "" {
		r.Header.Set("X-Api-Key", c.Key)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(r)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return Answer{Code: response.StatusCode, Body: b}, nil
}

// Run runs the micro command line and returns what it printed, both streams together.
func (c *Client) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Micro, args...)
	cmd.Env = slices.Concat(os.Environ(), []string{state.Env + "=" + c.State}, c.Env)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// Call is `micro call service endpoint body`; the answer is a JSON object.
func (c *Client) Call(ctx context.Context, service, endpoint, body string) (map[string]any, error) {
	out, err := c.Run(ctx, "call", service, endpoint, body)
	if err != nil {
		return nil, fmt.Errorf("micro call %s %s: %w: %s", service, endpoint, err, strings.TrimSpace(out))
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(out), &fields); err != nil {
		return nil, fmt.Errorf("micro call %s %s: expected JSON, got %q", service, endpoint, out)
	}
	return fields, nil
}
