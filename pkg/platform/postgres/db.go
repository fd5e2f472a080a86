package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/micro/micro/v3/service/store"

	"github.com/m3o/backend/pkg/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// openTimeout is how long the server may take to answer when the database is opened.
const openTimeout = 5 * time.Second

// DB is an open database. It is safe for concurrent use.
type DB struct {
	pool *pgxpool.Pool
	// host is where the server is, for errors; of several the first.
	host string
	// writers has a place for each blob that may be written at a time.
	writers chan struct{}
	stop    context.CancelFunc
	sweeper sync.WaitGroup
}

// Open connects to the database and brings its tables up to date: when several processes start at once, one does it and the
// others wait. It returns an error of one sentence, within some 5 s, when the database cannot be used or is newer than this
// program.
func Open(ctx context.Context, config Config) (*DB, error) {
	pool, err := config.pool()
	if err != nil {
		return nil, err
	}
	c := pool.ConnConfig
	db := &DB{host: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), writers: make(chan struct{}, max(1, pool.MaxConns/2))}
	if db.pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return nil, db.starting(err)
	}
	if err := db.prepare(ctx); err != nil {
		db.pool.Close()
		return nil, db.starting(err)
	}
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	db.stop = stop
	db.sweeper.Go(func() { db.sweepOften(sweeping) })
	return db, nil
}

// prepare makes sure that the database answers, and brings its tables up to date.
func (db *DB) prepare(ctx context.Context) error {
	answering, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := db.check(answering); err != nil {
		return err
	}
	root, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	// Records are read and written without database/sql, which costs time; migrations are the same as a service's.
	tables, err := database.New(database.Config{Name: "store", Pool: stdlib.OpenDBFromPool(db.pool), Migrations: root})
	if err != nil {
		return err
	}
	return tables.Close()
}

// Check returns an error that says why records cannot be read and written at the moment, if they cannot.
func (db *DB) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return db.running(db.check(ctx))
}

var errReadOnly = errors.New("takes no changes at the moment (it is a standby, or read-only)")

func (db *DB) check(ctx context.Context) error {
	var readOnly bool
	err := db.pool.QueryRow(ctx, `SELECT current_setting('transaction_read_only')::bool`).Scan(&readOnly)
	if err == nil && readOnly {
		return errReadOnly
	}
	return err
}

// Store is Micro's store in this database. Each has options of its own: what Init has set in one does not concern another.
func (db *DB) Store() store.Store { return newRecords(db) }

// Blobs is Micro's blob store in this database.
func (db *DB) Blobs() store.BlobStore { return blobs{db} }

// Close waits for what is going on, and closes all connections.
func (db *DB) Close() {
	db.stop()
	db.sweeper.Wait()
	db.pool.Close()
}

const (
	// timeout is how long PostgreSQL may take for one record or one chunk.
	timeout = 10 * time.Second
	// timeoutMany is how long it may take for many of them.
	timeoutMany = time.Minute
	// attempts is how often something is tried that has found a connection broken.
	attempts = 3
)

// read runs something that changes nothing, again when its connection turns out to be broken.
func (db *DB) read(within time.Duration, f func(ctx context.Context) error) error {
	return db.again(within, lost, f)
}

// write runs something that changes something, again when it has certainly not got to the server.
func (db *DB) write(within time.Duration, f func(ctx context.Context) error) error {
	return db.again(within, unsent, f)
}

func (db *DB) again(within time.Duration, retry func(error) bool, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := f(ctx)
	for attempt := 1; err != nil && attempt < attempts && ctx.Err() == nil && retry(err); attempt++ {
		db.distrust(err)
		err = f(ctx)
	}
	return db.running(err)
}

// checkLength refuses a name or a key that an index cannot have.
func checkLength(what, text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("%s of %d bytes: expected at most %d", what, len(text), most)
	}
	return nil
}
