package service

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	stderrors "errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/m3o/backend/pkg/errors"
)

const (
	// sendTimeout is how long an answer is waited for: less than a handler of events has.
	sendTimeout = 10 * time.Second
	// maxBody is how many bytes are sent at once, before they are compressed. Mixpanel takes more, and once took no more.
	maxBody = 2 << 20
	// maxAnswer is how many bytes of an answer are read: room for a line about each event.
	maxAnswer = 4 << 20
	// respite is for how long nothing is sent after it has failed, unless Mixpanel has named a time: what is tried meanwhile
	// fails at once. maxWait is how long a time that it has named is waited for before others may try.
	respite = 500 * time.Millisecond
	maxWait = 5 * time.Second
	// maxRespite is how long a time that it has named is believed.
	maxRespite = 5 * time.Minute
)

// sender sends to one destination.
type sender struct {
	to      destination
	url     string
	batch   int
	client  *http.Client
	clock   func() time.Time
	log     *slog.Logger
	metrics *metrics

	mu      sync.Mutex
	until   time.Time // nothing is sent before
	why     error     // that it is so
	told    bool      // whether Mixpanel has named that time
	refused error     // that it takes nothing from us
}

func newSender(to destination, cfg Config, metrics *metrics) *sender {
	query := url.Values{"strict": {"1"}}
	if to.projectID != 0 {
		query.Set("project_id", strconv.FormatInt(to.projectID, 10))
	}
	return &sender{
		to: to, url: to.base + "/import?" + query.Encode(), batch: cfg.Settings.BatchSize, clock: cfg.Clock, log: cfg.Log, metrics: metrics,
		client: &http.Client{
			Transport: cfg.Transport,
			// Nobody but the one that it is for gets the credentials.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// send sends records, in as many requests as it takes, and returns those that are refused. After an error some may be there,
// and are the same when they are sent again.
func (s *sender) send(ctx context.Context, all []record) ([]refusal, error) {
	var refused []refusal
	for from := 0; from < len(all); {
		to, size := from, 0
		for to < len(all) && to-from < s.batch && (to == from || size+len(all[to].text) < maxBody) {
			size += len(all[to].text) + 1
			to++
		}
		some, err := s.sendSome(ctx, all[from:to])
		if err != nil {
			return nil, err
		}
		for _, r := range some {
			refused = append(refused, refusal{record: from + r.record, field: r.field})
		}
		from = to
	}
	return refused, nil
}

// sendSome sends what fits in one request; in two, if Mixpanel finds it does not.
func (s *sender) sendSome(ctx context.Context, some []record) ([]refusal, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	code, header, answer, err := s.post(ctx, encodeAll(some))
	s.metrics.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	s.metrics.duration.Observe(time.Since(began).Seconds())
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err() // it was us who did not wait
		}
		return nil, s.pause(ctx, nil, errors.Unavailable("Mixpanel cannot be reached").WithCause(err), false)
	}
	switch {
	case code == http.StatusOK:
		s.fine(ctx)
		return nil, nil
	case code == http.StatusRequestEntityTooLarge && len(some) > 1:
		half := len(some) / 2
		first, err := s.sendSome(ctx, some[:half])
		if err != nil {
			return nil, err
		}
		second, err := s.sendSome(ctx, some[half:])
		for i := range second {
			second[i].record += half
		}
		return append(first, second...), err
	case code == http.StatusRequestEntityTooLarge:
		return []refusal{{field: "the size"}}, nil
	case code == http.StatusBadRequest:
		if refused := refusals(some, answer); len(refused) > 0 {
			s.fine(ctx)
			return refused, nil
		}
		return nil, s.pause(ctx, header, errors.Unavailable("Mixpanel refuses the request as a whole (400): check micro.mixpanel"), true)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return nil, s.pause(ctx, header, errors.Unavailable("Mixpanel refuses the credentials (%d): check micro.mixpanel", code), true)
	default:
		return nil, s.pause(ctx, header, errors.Unavailable("Mixpanel answers %d", code), false)
	}
}

// await returns when something may be sent, or why it may not.
func (s *sender) await(ctx context.Context) error {
	s.mu.Lock()
	wait, why, told := s.until.Sub(s.clock()), s.why, s.told
	s.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	deadline, ok := ctx.Deadline()
	if !told || wait > maxWait || ok && time.Until(deadline) < wait+sendTimeout {
		return why
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// pause has nothing sent for a while, and returns why. It is logged when that is news.
func (s *sender) pause(ctx context.Context, header http.Header, why *errors.Error, refused bool) error {
	wait, told := retryAfter(header, s.clock())
	if !told {
		wait = respite
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.why == nil || s.why.Error() != why.Error()
	s.until, s.why, s.told = s.clock().Add(wait), why, told
	if s.refused = nil; refused {
		s.refused = why
	}
	if news && refused {
		s.log.ErrorContext(ctx, why.Error())
	} else if news {
		s.log.WarnContext(ctx, why.Error()+", it is tried again", "cause", cause(why.Cause))
	}
	return why
}

// cause is what is said of an error of the HTTP client, whose own text repeats the whole address.
func cause(err error) string {
	if wrapped, ok := stderrors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// fine remembers that Mixpanel takes what it is sent.
func (s *sender) fine(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		s.log.InfoContext(ctx, "Mixpanel takes events again")
	}
	s.until, s.why, s.told, s.refused = time.Time{}, nil, false, nil
}

// check returns why Mixpanel takes nothing from us; nil when it does, and when it is only away.
func (s *sender) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// retryAfter returns the time that an answer names after which it may be tried again.
func retryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	value := header.Get("Retry-After")
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(min(max(seconds, 0), int(maxRespite/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = min(at.Sub(now), maxRespite)
	}
	return wait, wait > 0
}

// encodeAll makes the body of a request: a JSON array, compressed.
func encodeAll(some []record) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is one that there is, and a buffer takes everything
	for i, r := range some {
		before := ","
		if i == 0 {
			before = "["
		}
		_, _ = io.WriteString(w, before)
		_, _ = w.Write(r.text)
	}
	_, _ = io.WriteString(w, "]")
	_ = w.Close()
	return b.Bytes()
}

func (s *sender) post(ctx context.Context, body []byte) (code int, header http.Header, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	r.SetBasicAuth(s.to.user, s.to.password)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Encoding", "gzip")
	rsp, err := s.client.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer rsp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(rsp.Body, maxAnswer))
	return rsp.StatusCode, rsp.Header, answer, err
}

// validField is what Mixpanel calls what is wrong: a path. Nothing else of what it says is repeated, it may be what it was sent.
var validField = regexp.MustCompile(`^[A-Za-z0-9_.$\[\]]{1,100}$`)

// refusals reads which records Mixpanel has refused; none if it does not say, or names one that it was not sent.
func refusals(some []record, answer []byte) []refusal {
	var body struct {
		Failed []struct {
			Index    *int   `json:"index"`
			InsertID string `json:"insert_id"`
			Field    string `json:"field"`
		} `json:"failed_records"`
	}
	if json.Unmarshal(answer, &body) != nil {
		return nil
	}
	var all []refusal
	for _, f := range body.Failed {
		i := slices.IndexFunc(some, func(r record) bool { return r.insertID == f.InsertID })
		if f.Index != nil && *f.Index >= 0 && *f.Index < len(some) && (f.InsertID == "" || some[*f.Index].insertID == f.InsertID) {
			i = *f.Index
		}
		if i < 0 {
			return nil
		}
		field := "something"
		if validField.MatchString(f.Field) {
			field = f.Field
		}
		all = append(all, refusal{record: i, field: field})
	}
	return all
}
