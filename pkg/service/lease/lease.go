package lease

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
)

const (
	// TTL is how long a lease lasts that is not renewed.
	TTL = 3 * time.Second
	// renewal is how often it is renewed, and asked for by those who do not have it.
	renewal = TTL / 3
	// margin is how long before the end of the lease its holder has stopped.
	margin = TTL / 6
)

//go:embed migrations/*.sql
var embedded embed.FS

// Leases are the leases of one service. The zero value is of no use: Open makes one. It is safe for concurrent use.
type Leases struct {
	db     *database.DB
	holder string
	// acquire and release are the statements, which name the service's table.
	acquire, release, check string
}

// now is the time by the database's clock, in microseconds since 1970.
var now = map[database.Dialect]string{
	database.SQLite:     `CAST(unixepoch('subsec') * 1000000 AS INTEGER)`,
	database.PostgreSQL: `CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`,
}

// Open returns the leases in a service's database, in which it makes their table if it is not there. Whoever calls it is
// one holder, different from any other.
func Open(ctx context.Context, db *database.DB) (*Leases, error) {
	migrations, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Extend(ctx, "leases", migrations); err != nil {
		return nil, err
	}
	table, now := db.Name()+"_leases", now[db.Dialect()]
	return &Leases{
		db: db, holder: uuid.NewString(),
		acquire: `
			INSERT INTO ` + table + ` (name, holder, until) VALUES ($1, $2, ` + now + ` + $3)
			ON CONFLICT (name) DO UPDATE SET holder = $2, until = ` + now + ` + $3
			WHERE ` + table + `.holder = $2 OR ` + table + `.until < ` + now + ` OR ` + table + `.until > ` + now + ` + $3`,
		check:   `SELECT holder FROM ` + table + ` WHERE name = $1 FOR UPDATE`,
		release: `UPDATE ` + table + ` SET until = 0 WHERE name = $1 AND holder = $2`,
	}, nil
}

// take acquires a lease or renews it, and says whether it did.
func (l *Leases) take(ctx context.Context, name string) (taken bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, TTL)
	defer cancel()
	err = l.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		r, err := tx.Exec(ctx, l.acquire, name, l.holder, TTL.Microseconds())
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		taken = n > 0
		return err
	})
	return taken && err == nil, err
}

// Check returns an error unless this process holds the lease of that name, and keeps it from being taken until the end of the
// transaction: so that what the transaction does cannot come too late.
func (l *Leases) Check(ctx context.Context, tx database.Querier, name string) error {
	var holder string
	if err := tx.QueryRow(ctx, l.check, name).Scan(&holder); err != nil {
		return fmt.Errorf("read the lease %s: %w", name, err)
	}
	if holder != l.holder {
		return fmt.Errorf("the lease %s is another's now", name)
	}
	return nil
}

func (l *Leases) giveBack(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), TTL)
	defer cancel()
	err := l.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, l.release, name, l.holder)
		return err
	})
	if err != nil {
		logger.Warnf("The lease %s was not given back, it ends by itself: %v", name, err)
	}
}

// Run calls work whenever this process holds the lease of that name, until ctx ends. The context of work ends when the
// lease does; work has to return then, and may return before, after which it is called again as soon as the lease is to be
// had, here or elsewhere.
func (l *Leases) Run(ctx context.Context, name string, work func(ctx context.Context)) {
	for {
		asked := time.Now()
		taken, err := l.take(ctx, name)
		if err != nil && ctx.Err() == nil {
			logger.Warnf("Nobody knows who holds the lease %s: %v", name, err)
		}
		if taken {
			l.hold(ctx, name, asked, work)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(renewal):
		}
	}
}

// hold does the work as long as the lease lasts, which was asked for at a time.
func (l *Leases) hold(ctx context.Context, name string, asked time.Time, work func(ctx context.Context)) {
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	// Without a renewal in time the timer ends the work, also while a renewal hangs.
	end := time.AfterFunc(time.Until(asked.Add(TTL-margin)), cancel)
	defer end.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(working)
	}()
	defer func() {
		cancel()
		<-done
		l.giveBack(ctx, name)
	}()
	renew := time.NewTicker(renewal)
	defer renew.Stop()
	for {
		select {
		case <-done:
			return
		case <-working.Done():
			return
		case <-renew.C:
		}
		asked := time.Now()
		switch taken, err := l.take(working, name); {
		case err != nil:
			if working.Err() == nil {
				logger.Warnf("The lease %s could not be renewed: %v", name, err)
			}
		case !taken:
			logger.Warnf("The lease %s is another's now", name)
			return
		case !end.Reset(time.Until(asked.Add(TTL - margin))):
			return // it had ended
		}
	}
}

// Every calls f once at each interval in the whole platform, roughly, until ctx ends; for the first time soon after the
// lease was got. What f returns is logged, and f is called again at its time.
func (l *Leases) Every(ctx context.Context, name string, interval time.Duration, f func(ctx context.Context) error) {
	l.Run(ctx, name, func(ctx context.Context) {
		for {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				logger.Errorf("%s failed, it is tried again in %s: %v", name, interval, err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(interval):
			}
		}
	})
}
