package events_test

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
)

// world is the events service, a publisher and its consumers, each a process.
type world struct {
	address, dir string
	count        int

	stream, publisher *process
	consumers         []*process
}

func newWorld(t *testing.T, count, consumers int) *world {
	t.Helper()
	w := prepare(t, count, consumers)
	w.run(t)
	return w
}

// prepare makes a world of which nothing runs yet.
func prepare(t *testing.T, count, consumers int) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return &world{address: l.Addr().String(), dir: t.TempDir(), count: count, consumers: make([]*process, consumers)}
}

// run starts everything.
func (w *world) run(t *testing.T) {
	t.Helper()
	w.startStream(t)
	for i := range w.consumers {
		w.startConsumer(t, i)
	}
	w.startPublisher(t)
}

func (w *world) start(t *testing.T, role string) *process {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(w.dir, role), 0o750))
	return start(t, role, w.env(role)...)
}

func (w *world) env(role string) []string {
	return []string{addressEnv + "=" + w.address, dirEnv + "=" + filepath.Join(w.dir, role), countEnv + "=" + strconv.Itoa(w.count)}
}

func (w *world) startStream(t *testing.T)          { w.stream = w.start(t, "stream") }
func (w *world) startPublisher(t *testing.T)       { w.publisher = w.start(t, "publisher") }
func (w *world) startConsumer(t *testing.T, i int) { w.consumers[i] = w.start(t, "consumer") }

// bankOf opens what a role keeps.
func (w *world) bankOf(t *testing.T, role string) *database.DB {
	t.Helper()
	db, err := openBank(filepath.Join(w.dir, role))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// requireTruth waits until the consumer has had the effect of all that the publisher has done, and compares: each effect
// once, in the order of its account, and nothing left in between.
func (w *world) requireTruth(t *testing.T, long time.Duration) {
	t.Helper()
	for w.publisher.hear(t, long) != "done" {
		continue
	}
	sent, handled := w.bankOf(t, "publisher"), w.bankOf(t, "consumer")
	require.Eventually(t, func() bool { return count(t, handled, "effects", "1 = 1") >= w.count }, long, 20*time.Millisecond)

	rows, err := handled.Read().Query(context.Background(), `SELECT name, number FROM shop_effects ORDER BY position`)
	require.NoError(t, err)
	defer rows.Close()
	last := make(map[string]int64)
	for rows.Next() {
		var name string
		var number int64
		require.NoError(t, rows.Scan(&name, &number))
		last[name]++
		require.Equal(t, last[name], number, "of %s", name)
	}
	require.NoError(t, rows.Err())

	truth, err := sent.Read().Query(context.Background(), `SELECT name, number FROM shop_accounts`)
	require.NoError(t, err)
	defer truth.Close()
	total := 0
	for truth.Next() {
		var name string
		var number int64
		require.NoError(t, truth.Scan(&name, &number))
		require.Equal(t, number, last[name], "of %s", name)
		total += int(number)
	}
	require.NoError(t, truth.Err())
	require.Equal(t, w.count, total)
	require.Zero(t, count(t, sent, "outbox", "1 = 1"))
	require.Zero(t, count(t, handled, "letters", "1 = 1"))
}

// Every process is killed at random moments, one after the other and all at once, while the publisher works.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	began := time.Now()
	w := newWorld(t, faultEvents, 1)
	victims := map[string]func(){
		"the publisher": func() {
			w.publisher.kill()
			w.startPublisher(t)
		},
		"the consumer": func() {
			w.consumers[0].kill()
			w.startConsumer(t, 0)
		},
		"the events service": func() {
			w.stream.kill()
			w.startStream(t)
		},
		"everything": func() {
			for _, p := range []*process{w.publisher, w.stream, w.consumers[0]} {
				p.kill()
			}
			w.startConsumer(t, 0)
			w.startPublisher(t)
			w.startStream(t)
		},
	}
	kills := 0
	for range faultKills {
		for _, kill := range victims { // in any order
			time.Sleep(time.Duration(rand.Int64N(int64(400 * time.Millisecond)))) //nolint:forbidigo // that the moment is random is the point
			kill()
			kills++
		}
	}
	w.requireTruth(t, 3*time.Minute)
	t.Logf("%d events, %d kills, all effects once and in order, in %s", w.count, kills, time.Since(began).Round(time.Second))
}

// Two replicas of the consumer share a database; they come and go, some in an orderly way.
func TestReplicasComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, faultEvents, 2)
	for i := range 2 * faultKills {
		time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond)))) //nolint:forbidigo // that the moment is random is the point
		if replica := w.consumers[i%2]; rand.IntN(2) == 0 {
			replica.kill()
		} else {
			replica.stop(t)
		}
		w.startConsumer(t, i%2)
	}
	w.requireTruth(t, 3*time.Minute)
}

// A consumer that is away for a while finds everything when it comes back.
func TestAConsumerIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, faultEvents, 1)
	w.consumers[0].kill()
	for began := time.Now(); time.Since(began) < faultAway; {
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // that time passes is the point
	}
	w.startConsumer(t, 0)
	w.requireTruth(t, 3*time.Minute)
}
