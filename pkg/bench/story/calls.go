package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
)

// caller is a side on which many call a path at once, over HTTP; with an API key, if one is given.
func (p *platform) caller(path, key string) bench.Side {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers, DisableCompression: true}}
	return func(ctx context.Context) (float64, error) {
		return during(ctx, callers, turn, func(ctx context.Context) error {
			return call(ctx, client, p.API+path, key)
		})
	}
}

var place = []byte(`{"place": "Paris"}`)

func call(ctx context.Context, client *http.Client, url, key string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(place))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("X-Api-Key", key)
	}
	rsp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return err
	}
	if rsp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("Paris")) {
		return fmt.Errorf("%s answers %d: %s", url, rsp.StatusCode, body)
	}
	return nil
}

// signUps has many people sign up at once, each with an address of their own, and returns how many a second got their mail.
func (p *platform) signUps(ctx context.Context, long time.Duration) (float64, error) {
	var number atomic.Int64
	rate, err := during(ctx, signers, long, func(ctx context.Context) error {
		a, err := p.Post(ctx, "/signup/SendVerificationEmail", fmt.Sprintf(`{"email": "signer.%d@example.com"}`, number.Add(1)))
		if err == nil && a.Code != http.StatusOK {
			err = fmt.Errorf("answered %d: %s", a.Code, a.Body)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	mails, err := p.countMails()
	if err == nil && int64(mails) != number.Load() {
		err = fmt.Errorf("%d mails were sent for %d sign-ups", mails, number.Load())
	}
	return rate, err
}

// during has so many do something again and again for a while, and returns how often a second it was done.
func during(ctx context.Context, workers int, long time.Duration, do process.Caller) (float64, error) {
	return process.Measure(ctx, func() (process.Caller, error) { return do, nil }, workers, long)
}
