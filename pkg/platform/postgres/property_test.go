//go:build platform

package postgres

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model is what has to be in a table.
type model struct {
	db       *DB
	store    store.Store
	database string
	records  map[string]modelRecord
}

type modelRecord struct {
	value    string
	metadata map[string]any
	left     time.Duration // 0 is for ever
}

// keys are short and of few bytes, so that they meet.
func drawKey(t *rapid.T, least int) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "/", "%", "_", `\`, "\x00", "\xff", "ä"}), least, 4).Draw(t, "key")
	return strings.Join(parts, "")
}

func (m *model) write(t *rapid.T) {
	key := drawKey(t, 1)
	r := modelRecord{
		value:    rapid.String().Draw(t, "value"),
		metadata: rapid.MapOfN(rapid.String(), rapid.String().AsAny(), 0, 2).Draw(t, "metadata"),
		// Of halves of hours, so that none is near its end when whole hours have passed.
		left: time.Duration(max(0, rapid.IntRange(-4, 8).Draw(t, "hours"))) * time.Hour,
	}
	if r.left > 0 {
		r.left -= 30 * time.Minute
	}
	require.NoError(t, m.store.Write(&store.Record{Key: key, Value: []byte(r.value), Metadata: r.metadata, Expiry: r.left}))
	m.records[key] = r
}

func (m *model) delete(t *rapid.T) {
	key := drawKey(t, 1)
	require.NoError(t, m.store.Delete(key))
	delete(m.records, key)
}

// later has an hour pass: the database's clock cannot be turned, so all times are.
func (m *model) later(t *rapid.T) {
	_, err := m.db.pool.Exec(t.Context(), `UPDATE store_records SET expires = expires - interval '1 hour' WHERE in_database = $1`, []byte(m.database))
	require.NoError(t, err)
	for key, r := range m.records {
		if r.left == 0 {
			continue
		}
		if r.left -= time.Hour; r.left < 0 {
			delete(m.records, key)
		} else {
			m.records[key] = r
		}
	}
}

func (m *model) sweep(t *rapid.T) { require.NoError(t, m.db.sweep(t.Context())) }

func (m *model) readOne(t *rapid.T) {
	key := drawKey(t, 0)
	found, err := m.store.Read(key)
	want, ok := m.records[key]
	if !ok {
		require.Equal(t, store.ErrNotFound, err)
		return
	}
	require.NoError(t, err)
	require.Len(t, found, 1)
	m.same(t, key, want, found[0])
}

func (m *model) same(t *rapid.T, key string, want modelRecord, got *store.Record) {
	require.Equal(t, key, got.Key)
	require.Equal(t, want.value, string(got.Value))
	require.Equal(t, want.metadata, got.Metadata)
	if want.left == 0 {
		require.Zero(t, got.Expiry)
	} else {
		require.InDelta(t, want.left.Seconds(), got.Expiry.Seconds(), 60)
	}
}

func (m *model) selects(t *rapid.T) {
	prefix, suffix := drawKey(t, 0), drawKey(t, 0)
	same := rapid.Bool().Draw(t, "same")
	if same {
		suffix = prefix
	}
	limit, offset := rapid.UintRange(0, 5).Draw(t, "limit"), rapid.UintRange(0, 5).Draw(t, "offset")
	order := rapid.SampledFrom([]store.Order{"", store.OrderAsc, store.OrderDesc}).Draw(t, "order")
	want := []string{}
	for _, key := range slices.Sorted(maps.Keys(m.records)) {
		if strings.HasPrefix(key, prefix) && strings.HasSuffix(key, suffix) {
			want = append(want, key)
		}
	}
	if order == store.OrderDesc {
		slices.Reverse(want)
	}
	want = want[min(int(offset), len(want)):]
	if limit > 0 {
		want = want[:min(int(limit), len(want))]
	}
	keys, err := m.store.List(store.ListPrefix(prefix), store.ListSuffix(suffix), store.ListLimit(limit), store.ListOffset(offset),
		store.ListOrder(order))
	require.NoError(t, err)
	require.Equal(t, want, keys)
	if !same {
		return
	}
	found, err := m.store.Read(prefix, store.ReadPrefix(), store.ReadSuffix(), store.ReadLimit(limit), store.ReadOffset(offset),
		store.ReadOrder(order))
	require.NoError(t, err)
	require.Len(t, found, len(want))
	for i, key := range want {
		m.same(t, key, m.records[key], found[i])
	}
}

// Whatever is done to a table, it is what a map would be that forgets what has expired.
func TestStoreIsAMap(t *testing.T) {
	t.Parallel()
	db := open(t)
	rapid.Check(t, func(t *rapid.T) {
		m := &model{db: db, store: db.Store(), database: uuid.NewString(), records: make(map[string]modelRecord)}
		require.NoError(t, m.store.Init(store.Database(m.database)))
		t.Repeat(map[string]func(*rapid.T){
			"write": m.write, "delete": m.delete, "later": m.later, "sweep": m.sweep, "read": m.readOne, "select": m.selects,
		})
	})
}
