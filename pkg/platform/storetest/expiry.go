package storetest

import (
	"context"
	"time"

	"github.com/micro/micro/v3/service/store"

	"github.com/m3o/backend/pkg/internal/casetest"
)

// expiry is short, and one that Micro's RPC can say, which knows whole seconds only.
const expiry = time.Second

func expiryCases() []Case[store.Store] {
	return []Case[store.Store]{
		{Name: "says how long a record has left", Run: saysLeft},
		{Name: "expires records", Run: expires},
		{Name: "expires records within a second", Run: expiresWithin},
		{Name: "expires at once what has expired when it is written", Run: expiresAtOnce},
		{Name: "counts no expired records", Run: countsNone},
		{Name: "takes expired keys again", Run: takesAgain},
	}
}

// lasting writes a record that lasts for a while.
func (t table) lasting(key string, d time.Duration) error {
	return t.write(&store.Record{Key: key, Value: []byte(key), Expiry: d})
}

// inTime writes a record "a" that lasts for a while and makes sure of something before it expires, again when the machine was too
// slow for that to mean anything.
func (t table) inTime(d time.Duration, holds func() error) error {
	for attempt := 1; ; attempt++ {
		began := time.Now()
		if err := t.lasting("a", d); err != nil {
			return err
		}
		if err := holds(); err == nil || attempt == 20 || time.Since(began) < d {
			return err
		}
	}
}

func saysLeft(_ context.Context, s store.Store) error {
	t := newTable(s)
	for key, d := range map[string]time.Duration{"minute": time.Minute, "month": 31*24*time.Hour + time.Minute, "age": 80 * 365 * 24 * time.Hour} {
		if err := t.lasting(key, d); err != nil {
			return err
		}
		r, err := t.one(key)
		if err != nil {
			return err
		}
		if err := casetest.Expect(r.Expiry > d-30*time.Second && r.Expiry <= d, "of %s %s are left", d, r.Expiry); err != nil {
			return err
		}
		found, err := t.read(key, store.ReadPrefix())
		if err != nil {
			return err
		}
		if err := casetest.Expect(len(found) == 1 && found[0].Expiry > d-30*time.Second && found[0].Expiry <= d, "by prefix: another time"); err != nil {
			return err
		}
	}
	return t.put("for ever", "")
}

func expires(ctx context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.lasting("b", time.Hour) },
		func() error { return t.fill("c") },
		func() error {
			return t.inTime(expiry, func() error { return t.selects("", "", 0, 0, "", "a", "b", "c") })
		},
		func() error { return casetest.Pass(ctx, expiry+100*time.Millisecond) },
		func() error { return t.lacks("a") },
		func() error { return t.selects("", "", 0, 0, "", "b", "c") },
		func() error { return t.selects("a", "", 0, 0, "") },
		func() error { return t.selects("", "a", 0, 0, "") },
	)
}

func expiresWithin(ctx context.Context, s store.Store) error {
	const short = 300 * time.Millisecond
	t := newTable(s)
	return first(
		func() error { return t.inTime(short, func() error { return t.has("a", "a") }) },
		func() error { return casetest.Pass(ctx, short+50*time.Millisecond) },
		func() error { return t.lacks("a") },
	)
}

func expiresAtOnce(_ context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.fill("a", "b") },
		func() error { return t.lasting("a", -expiry) },
		func() error { return t.lacks("a") },
		func() error { return t.selects("", "", 0, 0, "", "b") },
	)
}

func countsNone(ctx context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.fill("a/2", "a/4", "a/6") },
		func() error { return t.lasting("a/1", expiry) },
		func() error { return t.lasting("a/3", expiry) },
		func() error { return t.lasting("a/5", expiry) },
		func() error { return casetest.Pass(ctx, expiry+100*time.Millisecond) },
		func() error { return t.selects("a/", "", 2, 0, "", "a/2", "a/4") },
		func() error { return t.selects("a/", "", 2, 1, "", "a/4", "a/6") },
		func() error { return t.selects("a/", "", 2, 1, store.OrderDesc, "a/4", "a/2") },
		func() error { return t.selects("a/", "", 2, 3, "") },
	)
}

func takesAgain(ctx context.Context, s store.Store) error {
	t := newTable(s)
	return first(
		func() error { return t.lasting("a", expiry) },
		func() error { return casetest.Pass(ctx, expiry+100*time.Millisecond) },
		func() error { return t.fill("a") },
		func() error { return t.has("a", "a") },
		func() error { return t.lasting("b", expiry) },
		func() error { return t.fill("b") }, // for ever
		func() error { return casetest.Pass(ctx, expiry+100*time.Millisecond) },
		func() error { return t.has("b", "b") },
	)
}
