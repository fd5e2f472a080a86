//go:build platform

package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"
)

// The server is killed several times while records and blobs are written: what was acknowledged is there, and soon after the
// server is back everything works again.
func TestKilled(t *testing.T) {
	t.Parallel()
	server, _ := server(t)
	db := openAt(t, server.Address())
	s, b := db.Store(), db.Blobs()

	const writers = 8
	var acknowledged [writers]map[string]string
	var blobs [writers]int
	var total atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		acknowledged[w] = make(map[string]string)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key, value := fmt.Sprintf("%d/%d", w, i%100), fmt.Sprint(i)
				if s.Write(&store.Record{Key: key, Value: []byte(value)}) == nil {
					acknowledged[w][key] = value
					total.Add(1)
				} else {
					delete(acknowledged[w], key) // either is there
				}
				if i%50 == 0 {
					blobs[w] = i
					for blobs[w] = i; b.Write(fmt.Sprintf("blob/%d", w), numbered(i)) != nil; {
						select {
						case <-stop:
							blobs[w] = -1
							return
						default:
						}
					}
				}
			}
		})
	}
	for range 3 {
		before := total.Load()
		require.Eventually(t, func() bool { return total.Load() > before+500 }, 20*time.Second, 5*time.Millisecond)
		require.NoError(t, server.Kill())
		require.NoError(t, server.Start(t.Context()))
		back := time.Now()
		require.Eventually(t, func() bool { return db.Check(t.Context()) == nil }, 10*time.Second, 5*time.Millisecond)
		require.NoError(t, s.Write(&store.Record{Key: "back"}))
		require.Less(t, time.Since(back), 5*time.Second)
	}
	close(stop)
	wg.Wait()
	for w := range writers {
		for key, value := range acknowledged[w] {
			found, err := s.Read(key)
			require.NoError(t, err, key)
			require.Equal(t, value, string(found[0].Value), key)
		}
		if blobs[w] < 0 {
			continue
		}
		r, err := b.Read(fmt.Sprintf("blob/%d", w))
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		want, err := io.ReadAll(numbered(blobs[w]))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
}

// numbered is a blob of two chunks and a bit.
func numbered(i int) io.Reader {
	return bytes.NewReader(bytes.Repeat(fmt.Appendf(nil, "%010d", i), (2*chunk+10)/10))
}

// While the server is away, whoever asks is told so, soon; reads go on with the connections that were idle meanwhile.
func TestAway(t *testing.T) {
	t.Parallel()
	server, _ := server(t, quick...)
	db := openAt(t, with(t, server.Address(), func(u *url.URL, _ url.Values) { u.RawQuery += "&pool_max_conns=4" }))
	s := db.Store()
	require.NoError(t, s.Write(&store.Record{Key: "a"}))
	many := func() { // so that all connections have been used
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				_, err := s.Read("a")
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	many()
	require.NoError(t, server.Stop())
	began := time.Now()
	for range 5 {
		require.ErrorContains(t, s.Write(&store.Record{Key: "b"}), "the store: ")
		_, err := s.Read("a")
		require.ErrorContains(t, err, "the store: ")
		require.NotErrorIs(t, err, store.ErrNotFound)
	}
	require.ErrorContains(t, db.Check(t.Context()), "PostgreSQL at "+server.Host()+" cannot be reached")
	require.Less(t, time.Since(began), 5*time.Second)
	require.NoError(t, server.Start(t.Context()))
	many()

	// The connections were used a moment ago, so that nobody looks whether they are still good.
	many()
	require.NoError(t, server.Kill())
	require.NoError(t, server.Start(t.Context()))
	many()

	many()
	require.NoError(t, server.Kill())
	require.NoError(t, server.Start(t.Context()))
	if err := s.Write(&store.Record{Key: "a"}); err != nil { // over a connection that was used a moment ago
		require.ErrorContains(t, err, "PostgreSQL")
	}
	require.NoError(t, s.Write(&store.Record{Key: "a"}))
}

// A host that has died closes no connection. Another one that takes over behind the address is found nevertheless.
func TestSilence(t *testing.T) {
	t.Parallel()
	server, _ := server(t, quick...)
	p := newProxy(t, server.Host())
	db := openAt(t, with(t, server.Address(), func(u *url.URL, _ url.Values) { u.Host = p.address }))
	s := db.Store()
	require.NoError(t, s.Write(&store.Record{Key: "a"}))
	p.silence()
	began := time.Now()
	_, err := s.Read("a")
	if err != nil { // when the connection was used a moment ago; otherwise another one was made
		require.EqualError(t, err, "the store: PostgreSQL at "+p.address+" does not answer in time")
	}
	_, err = s.Read("a")
	require.NoError(t, err)
	require.NoError(t, db.Check(t.Context()))
	require.Less(t, time.Since(began), timeout+5*time.Second)
}

// A server that has become a standby is asked no more over the same connections.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	server, _ := server(t, quick...)
	db := openAt(t, server.Address())
	s := db.Store()
	require.NoError(t, s.Write(&store.Record{Key: "a"}))
	exec(t, server.Address(), `ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`)
	require.Eventually(t, func() bool { return s.Write(&store.Record{Key: "a"}) != nil }, 10*time.Second, 10*time.Millisecond)
	require.EqualError(t, s.Write(&store.Record{Key: "a"}),
		"the store: PostgreSQL takes no changes at the moment (it is a standby, or read-only)")
	require.ErrorContains(t, db.Check(t.Context()), "takes no changes at the moment")
	_, err := s.Read("a")
	require.NoError(t, err)
	exec(t, server.Address(), `SET default_transaction_read_only = off`, `ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`)
	require.Eventually(t, func() bool { return s.Write(&store.Record{Key: "a"}) == nil }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, db.Check(t.Context()))
}

func pgError(code, message string) error { return &pgconn.PgError{Code: code, Message: message} }

// What PostgreSQL says when it can do no more is said in words.
func TestReasons(t *testing.T) {
	t.Parallel()
	db := &DB{host: "host:5432", pool: open(t).pool}
	for _, c := range []struct {
		err  error
		want string
	}{
		{pgError("53100", "could not extend file"), "the store: PostgreSQL's disk is full"},
		{pgError("53300", "sorry, too many clients already"),
			"the store: PostgreSQL has no connection left: raise its max_connections, or lower pool_max_conns in MICRO_POSTGRES_ADDRESS"},
		{pgError("57P03", "the database system is starting up"),
			"the store: PostgreSQL cannot be used at the moment (the database system is starting up)"},
		{pgError("22021", "invalid byte sequence: secret"), "the store: PostgreSQL: SQLSTATE 22021"},
		{pgError("XX001", "invalid page in block 7"), "the store: PostgreSQL: SQLSTATE XX001: invalid page in block 7"},
		{io.ErrUnexpectedEOF, "the store: the connection to PostgreSQL at host:5432 broke: unexpected EOF"},
		{errors.New("other"), "the store: wrapped: other"},
	} {
		err := db.running(fmt.Errorf("wrapped: %w", c.err))
		require.EqualError(t, err, c.want)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, err, db.running(err))
	}
}
