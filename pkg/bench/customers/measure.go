package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
	micro "github.com/m3o/backend/pkg/service"
)

const (
	rounds = 5
	turn   = time.Second
	// callers call at once.
	callers = 64
	// asked is how many customers and keys are asked about.
	asked = 1000
	// page is how many customers a page has, and found how many one of a search: few enough to be found among a thousand.
	page  = 100
	found = 10
)

// admin may ask about everybody.
var admin = &auth.Account{ID: "admin", Issuer: namespace.DefaultNamespace, Type: "user", Scopes: []string{"admin"}}

// measureCalls measures calls of customers on a source, against calls of a service that does nothing, in the same run.
func measureCalls(ctx context.Context, report *bench.Report, dir string, s source) error {
	what := map[string]string{"sqlite3": "sqlite", "pgx": "postgres"}[s.driver]
	dir = filepath.Join(dir, what)
	known, err := s.writeKnown(ctx, dir)
	if err != nil {
		return err
	}
	keys := filepath.Join(dir, "keys")
	if _, err := process.CreateKeys(keys); err != nil {
		return err
	}
	signer, err := token.OpenSigner(keys)
	if err != nil {
		return err
	}
	access, _, err := signer.Sign(admin, "", token.MaxAccess)
	if err != nil {
		return err
	}
	ps := &process.Group{Dir: dir, Env: []string{
		"GOGC=" + strconv.Itoa(micro.GCPercent), "MICRO_PROFILE=test", "MICRO_REPORT_USAGE=false",
		process.KeysEnv + "=" + keys, process.TokenEnv + "=" + access,
		driverEnv + "=" + s.driver, dataEnv + "=" + s.address, knownEnv + "=" + known,
	}}
	defer ps.Stop()
	ours, err := ps.Serve("service")
	if err != nil {
		return err
	}
	nothing, err := ps.Serve("bare")
	if err != nil {
		return err
	}
	for _, call := range []struct{ name, role string }{{"read", "reader"}, {"verify-key", "verifier"}} {
		a, err := ps.Start(call.role, ours.Address)
		if err != nil {
			return err
		}
		b, err := ps.Start(call.role, nothing.Address)
		if err != nil {
			return err
		}
		for _, n := range []int{1, callers} {
			rates, err := bench.Interleave(ctx, rounds, a.Side(n, turn), b.Side(n, turn))
			if err != nil {
				return err
			}
			figure := fmt.Sprintf("%s-%s-%d", call.name, what, n)
			report.Figure(figure, rates[0], "calls/s")
			report.Figure(figure+"-bare", rates[1], "calls/s")
			if n == callers {
				report.AtLeast(figure+"-against-bare", rates[0]/rates[1], "x", 0.6)
			}
		}
	}
	creator, err := ps.Start("creator", ours.Address)
	if err != nil {
		return err
	}
	rates, err := bench.Interleave(ctx, rounds, creator.Side(callers, turn))
	if err != nil {
		return err
	}
	if s.driver == "pgx" {
		report.AtLeast("create-"+what, rates[0], "calls/s", 2000)
	} else {
		report.Figure("create-"+what, rates[0], "calls/s")
	}
	return nil
}

// measurePages measures what pages of many customers cost against the same of few.
func measurePages(ctx context.Context, report *bench.Report, small, large source) (err error) {
	var sides [2][]bench.Side
	for i, s := range []source{small, large} {
		c, failed := s.open()
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, c.db.Close()) }()
		middle, last, err := s.walk(ctx, c)
		if err != nil {
			return err
		}
		for _, q := range []service.ListQuery{
			{}, {Token: middle}, {Token: last}, {Prefix: "mia."}, {Prefix: "mia "}, {Status: service.Active, Prefix: "mia."},
		} {
			q.Size = page
			if q.Prefix != "" {
				q.Size = found
			}
			sides[i] = append(sides[i], listing(c, q))
		}
	}
	for i, name := range []string{"first-page", "middle-page", "last-page", "address-search", "name-search", "address-search-by-status"} {
		times, err := bench.Interleave(ctx, rounds, sides[0][i], sides[1][i])
		if err != nil {
			return err
		}
		report.Figure(name+"-of-1000", times[0], "us")
		report.Figure(name+"-of-1000000", times[1], "us")
		report.AtMost(name+"-of-1000000-against-1000", times[1]/times[0], "x", 2)
	}
	return nil
}

// walk goes through all pages, and returns the tokens of the one in the middle and of the last.
func (s source) walk(ctx context.Context, c *core) (middle, last string, err error) {
	pages := s.customers / page
	q := service.ListQuery{Size: page}
	for i := range pages {
		if i > 0 && i%2500 == 0 {
			progress("page %d of %d", i, pages)
		}
		if i == pages/2 {
			middle = q.Token
		}
		last = q.Token
		p, err := c.customers.List(ctx, q)
		if err != nil {
			return "", "", err
		}
		if len(p.Customers) != page || (p.Next == "") != (i == pages-1) {
			return "", "", fmt.Errorf("page %d has %d customers, and the next one is %q", i, len(p.Customers), p.Next)
		}
		q.Token = p.Next
	}
	return middle, last, nil
}

// listing asks for one page again and again for half a second, and finds how many microseconds that takes.
func listing(c *core, q service.ListQuery) bench.Side {
	return func(ctx context.Context) (float64, error) {
		began, n := time.Now(), 0
		for time.Since(began) < turn/2 {
			p, err := c.customers.List(ctx, q)
			if err != nil {
				return 0, err
			}
			if len(p.Customers) != q.Size {
				return 0, fmt.Errorf("a page of %d customers", len(p.Customers))
			}
			n++
		}
		return float64(time.Since(began).Microseconds()) / float64(n), nil
	}
}
