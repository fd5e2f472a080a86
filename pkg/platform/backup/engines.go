package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/redis"
)

const (
	// markTime is how far apart the looks at the stream and at the databases may be: half of the time for which an event is
	// still in the outbox (events.DefaultSettle) that the stream has already.
	markTime = time.Second
	// markAttempts is how often it is tried to be that fast.
	markAttempts = 5
)

// engines are the servers of others that a platform keeps things in.
type engines struct {
	databases []*postgresDB
	stream    *redis.Stream // nil on the embedded profile
	topics    []redis.Topic
}

func openEngines(ctx context.Context, others []string) (_ *engines, err error) {
	e := new(engines)
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	if e.databases, err = databasesOf(others); err != nil {
		return nil, err
	}
	for _, db := range e.databases {
		if err := db.connect(ctx); err != nil {
			return nil, err
		}
	}
	if profile.Current() != profile.Platform {
		return e, nil
	}
	opened, err := profile.OpenStream(profile.Platform)
	if err != nil {
		return nil, err
	}
	e.stream, _ = opened.(*redis.Stream)
	return e, nil
}

// mark makes this the instant of the backup. The stream is looked at first: what it got afterwards is in the outboxes that the
// databases had then, or belongs to a later time.
func (e *engines) mark(ctx context.Context) (err error) {
	if len(e.databases) == 0 {
		return nil
	}
	for range markAttempts {
		begin := time.Now()
		if e.stream != nil {
			if e.topics, err = e.stream.Topics(ctx); err != nil {
				return err
			}
		}
		for _, db := range e.databases {
			if err := db.mark(ctx); err != nil {
				return err
			}
		}
		if time.Since(begin) < markTime {
			return nil
		}
	}
	return fmt.Errorf("the stream and the databases cannot be looked at within %s: their servers are too slow at the moment", markTime)
}

// dump writes what there was at that instant.
func (e *engines) dump(ctx context.Context, dir string, m *Manifest) error {
	for i, db := range e.databases {
		part := Part{db.name, fmt.Sprintf("postgres/%d.dump", i)}
		if err := os.MkdirAll(filepath.Join(dir, "postgres"), 0o700); err != nil {
			return err
		}
		if err := db.dump(ctx, filepath.Join(dir, part.File)); err != nil {
			return err
		}
		m.Databases = append(m.Databases, part)
	}
	for i, t := range e.topics {
		part := Part{t.Name, fmt.Sprintf("redis/%d.jsonl", i)}
		if err := os.MkdirAll(filepath.Join(dir, "redis"), 0o700); err != nil {
			return err
		}
		if err := dumpTopic(ctx, e.stream, t, filepath.Join(dir, part.File)); err != nil {
			return err
		}
		m.Topics = append(m.Topics, part)
	}
	return nil
}

// check makes sure that what a backup has can be restored here, before anything is.
func (e *engines) check(ctx context.Context, m *Manifest) error {
	if len(e.databases) != len(m.Databases) {
		return fmt.Errorf("the backup has %d databases of PostgreSQL, %d are given: name those that it does not know with --database",
			len(m.Databases), len(e.databases))
	}
	for _, part := range m.Databases {
		db, err := e.find(part)
		if err != nil {
			return err
		}
		if err := db.isEmpty(ctx); err != nil {
			return err
		}
	}
	if e.stream == nil {
		return nil
	}
	topics, err := e.stream.Topics(ctx)
	if err != nil {
		return err
	}
	if len(topics) > 0 {
		return fmt.Errorf("the event stream in Redis is not empty: it has %d topics; a backup is restored into one that is", len(topics))
	}
	return nil
}

// find returns the database for one of a backup: the one of that name, or the only one, whatever it is called.
func (e *engines) find(part Part) (*postgresDB, error) {
	if len(e.databases) == 1 {
		return e.databases[0], nil
	}
	for _, db := range e.databases {
		if db.name == part.Name {
			return db, nil
		}
	}
	return nil, fmt.Errorf("none of the databases is called %s, as in the backup", part.Name)
}

// restore fills the engines. The databases come first: what they have not, nobody may tell of.
func (e *engines) restore(ctx context.Context, dir string, m *Manifest) error {
	for _, part := range m.Databases {
		db, err := e.find(part)
		if err != nil {
			return err
		}
		if err := db.restore(ctx, filepath.Join(dir, filepath.FromSlash(part.File)), time.Since(m.Taken)); err != nil {
			return err
		}
	}
	for _, part := range m.Topics {
		if err := restoreTopic(ctx, e.stream, filepath.Join(dir, filepath.FromSlash(part.File))); err != nil {
			return err
		}
	}
	return nil
}

func (e *engines) close() error {
	var failures error
	for _, db := range e.databases {
		failures = errors.Join(failures, db.close())
	}
	if e.stream != nil {
		failures = errors.Join(failures, e.stream.Close())
	}
	return failures
}
