//go:build platform

package backup

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/redis"
	"github.com/m3o/backend/pkg/platform/state"
)

// things is what the shop has sold of each thing, what it has been told that it has, and what somebody was told who is slow.
var things = fstest.MapFS{"00001_shop.sql": {Data: []byte(`-- +goose Up
CREATE TABLE shop_sold (name TEXT PRIMARY KEY, n BIGINT NOT NULL);
CREATE TABLE shop_told (name TEXT PRIMARY KEY, n BIGINT NOT NULL);
CREATE TABLE shop_slow (name TEXT PRIMARY KEY, n BIGINT NOT NULL);
-- +goose Down
DROP TABLE shop_slow;
DROP TABLE shop_told;
DROP TABLE shop_sold;
`)}}

const (
	topic = "things"
	// shelves is how many different things there are, sellers how many sell at once.
	shelves, sellers = 5, 3
)

// servers are a database of PostgreSQL and one of Redis that nobody else uses.
type servers struct{ postgres, redis string }

func newServers(t *testing.T, number int) servers {
	t.Helper()
	address, redisAddress := os.Getenv(engine.PostgresEnv), os.Getenv(engine.RedisEnv)
	require.NotEmpty(t, address, "run it with bin/withengines")
	require.NotEmpty(t, redisAddress, "run it with bin/withengines")
	admin, err := sql.Open("pgx", address)
	require.NoError(t, err)
	defer admin.Close() //nolint:errcheck // of the test
	name := "backup_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = admin.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Path = "/" + name
	return servers{u.String(), redisAddress + "/" + strconv.Itoa(number)}
}

// use makes them those of this process.
func (s servers) use(t *testing.T) {
	t.Helper()
	t.Setenv(profile.Env, profile.Platform)
	t.Setenv(profile.DatabaseEnv, "")
	t.Setenv("MICRO_POSTGRES_ADDRESS", s.postgres)
	t.Setenv("MICRO_REDIS_ADDRESS", s.redis)
}

// business is a shop that sells and is told of it, until it is closed.
type business struct {
	db    *database.DB
	bus   *events.Bus
	close func()
}

// open opens the shop. Somebody in it may be slow: takes so long for each event that they are always behind.
func (s servers) open(t *testing.T, slow time.Duration) *business {
	t.Helper()
	pool, err := sql.Open("pgx", s.postgres)
	require.NoError(t, err)
	db, err := database.New(database.Config{Name: "shop", Pool: pool, Migrations: things})
	require.NoError(t, err)
	config, err := redis.ParseConfig(s.redis)
	require.NoError(t, err)
	stream, err := redis.OpenStream(config)
	require.NoError(t, err)
	bus, err := events.New(t.Context(), events.Config{DB: db, Stream: stream})
	require.NoError(t, err)
	require.NoError(t, bus.Consume(events.Consumer{
		Topic: topic, Handle: events.Each(func(ctx context.Context, tx database.Querier, _ *events.Event, m *testproto.Happened) error {
			return count(ctx, tx, "shop_told", m.Name)
		}),
	}))
	require.NoError(t, bus.Consume(events.Consumer{
		Topic: topic, Name: "slow", Handle: events.Each(func(ctx context.Context, tx database.Querier, _ *events.Event, m *testproto.Happened) error {
			if slow > 0 {
				select {
				case <-time.After(slow):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return count(ctx, tx, "shop_slow", m.Name)
		}),
	}))
	require.NoError(t, bus.Start())
	b := &business{db: db, bus: bus, close: sync.OnceFunc(func() {
		require.NoError(t, bus.Stop())
		require.NoError(t, stream.Close())
		require.NoError(t, db.Close())
	})}
	t.Cleanup(b.close)
	return b
}

func count(ctx context.Context, tx database.Querier, table, name string) error {
	_, err := tx.Exec(ctx, `INSERT INTO `+table+` (name, n) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET n = `+table+`.n + 1`, name)
	return err
}

// sell sells until ctx ends; each sale and its event are one.
func (b *business) sell(ctx context.Context, t *testing.T) {
	t.Helper()
	var selling sync.WaitGroup
	for seller := range sellers {
		selling.Go(func() {
			for i := seller; ctx.Err() == nil; i++ {
				name := fmt.Sprint("thing ", i%shelves)
				if err := b.db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
					if err := count(ctx, tx, "shop_sold", name); err != nil {
						return err
					}
					return b.bus.Add(ctx, tx, events.Draft{Topic: topic, Aggregate: name, Message: &testproto.Happened{
						Type: testproto.HappenedType_HAPPENED_TYPE_MADE, Name: name,
					}})
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	selling.Wait()
}

func (b *business) counts(t *testing.T, table string) map[string]int64 {
	t.Helper()
	rows, err := b.db.Read().Query(context.Background(), `SELECT name, n FROM `+table)
	require.NoError(t, err)
	defer rows.Close()
	found := make(map[string]int64)
	for rows.Next() {
		var name string
		var n int64
		require.NoError(t, rows.Scan(&name, &n))
		found[name] = n
	}
	require.NoError(t, rows.Err())
	return found
}

// agrees waits until what was told is what was sold, and makes sure that it stays so.
func (b *business) agrees(t *testing.T) map[string]int64 {
	t.Helper()
	same := func() bool {
		sold := b.counts(t, "shop_sold")
		return maps.Equal(sold, b.counts(t, "shop_told")) && maps.Equal(sold, b.counts(t, "shop_slow"))
	}
	require.Eventually(t, same, 30*time.Second, 20*time.Millisecond, "sold and told differ for ever")
	require.Never(t, func() bool { return !same() }, 3*time.Second, 50*time.Millisecond, "something counts twice")
	return b.counts(t, "shop_sold")
}

// Nobody stands still here, as where the platform runs on other machines: whatever moment the backup is of, what the restored
// one is told is what it has sold, and the same again after more of it.
func TestNobodyStandsStill(t *testing.T) {
	first := newServers(t, 14)
	shop := first.open(t, 5*time.Millisecond)
	selling, stop := context.WithCancel(t.Context())
	var business sync.WaitGroup
	business.Go(func() { shop.sell(selling, t) })
	defer business.Wait()
	defer stop()

	archives := make([]string, 3)
	for i := range archives {
		<-time.After(3 * time.Second) // longer than an event stays in the outbox
		archives[i] = filepath.Join(t.TempDir(), "platform.tar")
		dir := filepath.Join(t.TempDir(), "state") // a lock ends with the process
		require.NoError(t, state.Use(dir))
		first.use(t)
		before := shop.counts(t, "shop_sold")
		m, err := Create(t.Context(), Config{Archive: archives[i], State: dir})
		require.NoError(t, err)
		require.Len(t, m.Databases, 1)
		require.Len(t, m.Topics, 1)
		after := shop.counts(t, "shop_sold")
		require.NotEqual(t, before, after, "it goes on")
	}
	stop()
	business.Wait()
	shop.close()

	var last int64
	for i, archive := range archives {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			second := newServers(t, 15)
			flush(t, second)
			second.use(t)
			dir := filepath.Join(t.TempDir(), "state")
			_, err := Restore(t.Context(), Config{Archive: archive, State: dir})
			require.NoError(t, err)
			require.DirExists(t, dir)
			_, err = Restore(t.Context(), Config{Archive: archive, State: dir + "2"})
			require.ErrorContains(t, err, "is not empty")
			shop := second.open(t, 0)
			sold := shop.agrees(t)
			total := int64(0)
			for _, n := range sold {
				total += n
			}
			require.Greater(t, total, last, "what was sold before is in the backup")
			last = total
			more, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			shop.sell(more, t)
			require.NotEqual(t, sold, shop.agrees(t))
			t.Logf("%d were sold at the time of the backup", total)
			shop.close()
			flush(t, second)
		})
	}
}

func flush(t *testing.T, s servers) {
	t.Helper()
	config, err := redis.ParseConfig(s.redis)
	require.NoError(t, err)
	number, err := strconv.Atoi(config.Endpoint.Path)
	require.NoError(t, err)
	client := goredis.NewClient(&goredis.Options{Addr: config.Endpoint.Hosts[0], DB: number, Protocol: 2})
	require.NoError(t, client.FlushDB(t.Context()).Err())
	require.NoError(t, client.Close())
}
