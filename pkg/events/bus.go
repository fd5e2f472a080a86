package events

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/service/lease"
)

const (
	// measureEvery is how often the outbox is measured, sweepEvery how often the inbox is swept, sweepAtOnce by how many rows.
	measureEvery = 5 * time.Second
	sweepEvery   = time.Hour
	sweepAtOnce  = 5000
)

// relayLease is whose holder publishes.
const relayLease = "relay"

//go:embed migrations/*.sql
var embedded embed.FS

// Config is what New needs.
type Config struct {
	// DB is the service's database. The tables of events are made in it.
	DB *database.DB
	// Stream is where events are published and consumed.
	Stream stream.Stream
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
	// Settle is how long an event stays in the outbox after the stream has acknowledged it; DefaultSettle when 0.
	Settle time.Duration
	// Metrics is where metrics are registered; nowhere when nil.
	Metrics prometheus.Registerer
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	switch {
	case c.DB == nil:
		return errors.New("events: a database is missing")
	case c.Stream == nil:
		return errors.New("events: a stream is missing")
	}
	return nil
}

// Bus publishes the events of a service and has others' handled. It is safe for concurrent use.
type Bus struct {
	*Outbox
	db      *database.DB
	stream  stream.Stream
	now     func() time.Time
	settle  time.Duration
	leases  *lease.Leases
	store   *store
	metrics *metrics

	mu        sync.Mutex
	consumers []*consumer
	tasks     []task
	stop      context.CancelFunc
	wg        sync.WaitGroup
}

// New returns the bus of a service, in whose database it makes the tables that it needs.
func New(ctx context.Context, cfg Config) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Settle == 0 {
		cfg.Settle = DefaultSettle
	}
	migrations, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return nil, err
	}
	if err := cfg.DB.Extend(ctx, "events", migrations); err != nil {
		return nil, err
	}
	leases, err := lease.Open(ctx, cfg.DB)
	if err != nil {
		return nil, err
	}
	metrics, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of events: %w", err)
	}
	return &Bus{
		Outbox: newOutbox(cfg.DB, cfg.Clock), db: cfg.DB, stream: cfg.Stream, now: cfg.Clock, settle: cfg.Settle, leases: leases,
		store: newStore(cfg.DB, cfg.Clock), metrics: metrics,
	}, nil
}

// Consume adds a consumer. It has to come before Start. Each event of the topic is handled once, by one of the processes of
// the service, beginning with the first that the stream has when the first of them starts.
func (b *Bus) Consume(cfg Consumer) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		return errors.New("events: consumers have to be added before the start")
	}
	c := &consumer{Consumer: cfg, key: cfg.key(), group: b.db.Name(), db: b.db, store: b.store, bus: b, wake: make(chan struct{}, 1)}
	if cfg.Name != "" {
		c.group += "/" + cfg.Name
	}
	for _, other := range b.consumers {
		if other.key == c.key {
			return fmt.Errorf("events: there are two consumers of topic %s: give one of them a name", cfg.Topic)
		}
	}
	b.consumers = append(b.consumers, c)
	return nil
}

// task is what runs by the clock.
type task struct {
	name     string
	interval time.Duration
	f        func(ctx context.Context) error
}

// Every has f run at each interval, by one of the processes of the service, from the start on. It may be run twice, and its
// error is logged. The name is the service's own; it has to come before Start.
func (b *Bus) Every(name string, interval time.Duration, f func(ctx context.Context) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		return errors.New("events: what runs by the clock has to be added before the start")
	}
	b.tasks = append(b.tasks, task{"every/" + name, interval, f})
	return nil
}

// bury makes dead letters of what consumers have left that there are no more: nobody would see to it.
func (b *Bus) bury(ctx context.Context) error {
	consumers := b.keys()
	where := ``
	if len(consumers) > 0 {
		where = ` AND consumer NOT IN ` + placeholders(1, len(consumers))
	}
	return b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `
			UPDATE `+b.store.letters+` SET state = 'dead', reason = 'there is no such consumer any more'
			WHERE state <> 'dead'`+where, consumers...)
		return err
	})
}

// Start begins to publish and to consume, until Stop.
func (b *Bus) Start() error {
	if err := b.bury(context.Background()); err != nil {
		return fmt.Errorf("events: look for letters of consumers that there are no more: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		return errors.New("events: started twice")
	}
	var ctx context.Context
	ctx, b.stop = context.WithCancel(context.Background())
	r := &relay{
		db: b.db, outbox: b.Outbox, stream: b.stream, settle: b.settle, count: func(n int) { b.metrics.published.Add(float64(n)) },
		fence: func(ctx context.Context, tx database.Querier) error { return b.leases.Check(ctx, tx, relayLease) },
	}
	b.wg.Go(func() { b.leases.Run(ctx, relayLease, r.run) })
	b.wg.Go(func() { b.leases.Every(ctx, "inbox", sweepEvery, b.sweep) })
	b.wg.Go(func() { b.measure(ctx) })
	for _, t := range b.tasks {
		b.wg.Go(func() { b.leases.Every(ctx, t.name, t.interval, t.f) })
	}
	for _, c := range b.consumers {
		b.wg.Go(func() { c.run(ctx) })
		b.wg.Go(func() { c.runLetters(ctx) })
	}
	return nil
}

// Stop ends what Start has begun and waits for it. What is being handled is broken off and handled again by whoever comes
// next.
func (b *Bus) Stop() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		b.stop()
	}
	b.wg.Wait()
	return nil
}

// Check says what is wrong, for a check of the service's health: that no event can be published, or that a consumer takes
// none.
func (b *Bus) Check(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full.Load() {
		return fmt.Errorf("%d events wait to be published, there is no room for more", MaxWaiting)
	}
	for _, c := range b.consumers {
		if c.full() {
			return fmt.Errorf("no events of %s are taken: %d are to be tried again, %d are dead letters", c.Topic, c.pending.Load(), c.dead.Load())
		}
	}
	return nil
}

// measure keeps an eye on the outbox.
func (b *Bus) measure(ctx context.Context) {
	for ctx.Err() == nil {
		var n int64
		// No more are counted than matters.
		err := b.db.Read().QueryRow(ctx, `
			SELECT COUNT(*) FROM (SELECT 1 FROM `+b.table+` WHERE published = 0 LIMIT $1) AS waiting`, MaxWaiting).Scan(&n)
		if err == nil {
			b.metrics.waiting.Set(float64(n))
			if full := n >= MaxWaiting; b.full.Swap(full) != full && full {
				logger.Errorf("The outbox of %s is full: nothing that has to be told can be done until events are published", b.db.Name())
			}
		} else if ctx.Err() == nil {
			logger.Warnf("The outbox of %s cannot be measured: %v", b.db.Name(), err)
		}
		wait(ctx, measureEvery, nil)
	}
}

// sweep forgets events that nobody delivers any more.
func (b *Bus) sweep(ctx context.Context) error {
	for {
		var n int64
		err := b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) (err error) {
			n, err = b.store.sweep(ctx, tx, b.now().Add(-InboxRetention), sweepAtOnce)
			return err
		})
		if err != nil || n < sweepAtOnce {
			return err
		}
	}
}
