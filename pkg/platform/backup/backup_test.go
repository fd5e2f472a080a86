package backup

import (
	"archive/tar"
	"bytes"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/micro/micro/v3/util/user"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/state"
)

// These tests use what is global in this process, and do not run in parallel.

// stateOf makes a state directory with a bit of everything, and makes it that of this process.
func stateOf(t *testing.T) string {
	t.Helper()
	t.Setenv(profile.Env, profile.Embedded)
	t.Setenv(profile.DatabaseEnv, "")
	t.Setenv(state.Env, "")
	dir, before := filepath.Join(t.TempDir(), "state"), user.Dir
	t.Cleanup(func() { user.Dir = before })
	require.NoError(t, state.Use(dir))
	for name, text := range map[string]string{
		"admin_password": "secret\n", "keys/root": "key", "logs/api.log": "x", "config.json": "{}", "events/id": "x", "events/a/1.blk": "events",
		".build-1/x": "x", "service/shop/db.sqlite-shm": "x",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "service/shop/db.sqlite-shm")))
	return dir
}

// shop opens a database of a service that is called so.
func shop(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := openSQLite(filepath.Join(dir, "service", "shop", "db.sqlite"), "_journal_mode=wal&_busy_timeout=1000")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func fill(t *testing.T, db *sql.DB, received int64) {
	t.Helper()
	for _, s := range []string{
		`CREATE TABLE shop_events_migrations (version_id INTEGER)`, `INSERT INTO shop_events_migrations VALUES (7)`,
		`CREATE TABLE shop_inbox (received BIGINT)`, `CREATE TABLE shop_outbox (published BIGINT)`,
		`INSERT INTO shop_outbox VALUES (-1), (0), (100)`,
	} {
		_, err := db.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
	_, err := db.ExecContext(t.Context(), `INSERT INTO shop_inbox VALUES ($1)`, received)
	require.NoError(t, err)
}

func numbers(t *testing.T, db *sql.DB, query string) (all []int64) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var n int64
		require.NoError(t, rows.Scan(&n))
		all = append(all, n)
	}
	require.NoError(t, rows.Err())
	return all
}

func TestBackup(t *testing.T) {
	dir := stateOf(t)
	fill(t, shop(t, dir), 1000) // is left open, as by a process that was killed: what it has written is in its log
	archive := filepath.Join(t.TempDir(), "platform.tar")
	m, err := Create(t.Context(), Config{Archive: archive, State: dir, Program: "v1"})
	require.NoError(t, err)
	require.Zero(t, m.Frozen)
	var found []string
	for _, f := range m.Files {
		found = append(found, f.Name)
		if f.Name == "state/service/shop/db.sqlite" {
			require.Equal(t, map[string]int64{"shop_events_migrations": 7}, f.Schemas)
		}
	}
	require.Equal(t, []string{"state/admin_password", "state/events/a/1.blk", "state/keys/root", "state/service/shop/db.sqlite"}, found)
	info, err := os.Stat(archive)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = Create(t.Context(), Config{Archive: archive, State: dir})
	require.ErrorContains(t, err, "overwrites nothing")
	_, err = Create(t.Context(), Config{Archive: filepath.Join(dir, "x.tar"), State: dir})
	require.ErrorContains(t, err, "is in the state directory")
	_, err = Create(t.Context(), Config{Archive: archive + "2", State: t.TempDir()})
	require.ErrorContains(t, err, "MICRO_PROFILE: there is no platform of the profile embedded")

	to := filepath.Join(t.TempDir(), "deep", "state")
	_, err = Restore(t.Context(), Config{Archive: archive, State: to})
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(to, "keys", "root"))
	require.NoError(t, err)
	require.Equal(t, "key", string(text))
	restored := shop(t, to)
	require.Equal(t, []int64{1000}, numbers(t, restored, `SELECT received / 10 * 10 FROM shop_inbox`))
	left, err := os.ReadDir(filepath.Dir(to))
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing else is left")
	_, err = Restore(t.Context(), Config{Archive: archive, State: to})
	require.ErrorContains(t, err, "is not empty")
	t.Setenv(profile.Env, profile.Platform)
	_, err = Restore(t.Context(), Config{Archive: archive, State: to + "2"})
	require.ErrorContains(t, err, "MICRO_PROFILE: the backup is of the profile embedded, this is platform")
}

// The time in which a backup lay somewhere does not count.
func TestRevive(t *testing.T) {
	dir := stateOf(t)
	db := shop(t, dir)
	fill(t, db, 1000)
	require.NoError(t, revive(t.Context(), dir, 30*24*time.Hour))
	const month = 30 * 24 * 3600
	require.Equal(t, []int64{1000 + month}, numbers(t, db, `SELECT received FROM shop_inbox`))
	require.Equal(t, []int64{-1, 0, 100 + month}, numbers(t, db, `SELECT published FROM shop_outbox ORDER BY 1`))
}

// An archive that is not what was written is refused before anything is changed.
func TestDamage(t *testing.T) {
	dir := stateOf(t)
	fill(t, shop(t, dir), 1)
	archive := filepath.Join(t.TempDir(), "platform.tar")
	_, err := Create(t.Context(), Config{Archive: archive, State: dir})
	require.NoError(t, err)
	whole, err := os.ReadFile(archive)
	require.NoError(t, err)
	refused := func(text []byte, why string) {
		t.Helper()
		damaged, to := filepath.Join(t.TempDir(), "damaged.tar"), filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.WriteFile(damaged, text, 0o600))
		_, err := Restore(t.Context(), Config{Archive: damaged, State: to})
		require.ErrorContains(t, err, why)
		left, err := os.ReadDir(filepath.Dir(to))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	refused(bytes.Replace(whole, []byte("secret"), []byte("secreT"), 1), "state/admin_password is damaged")
	refused(whole[:len(whole)/2], "cannot be read: unexpected EOF")
	refused(nil, "it was not finished")
	refused(rewritten(t, whole, func(h *tar.Header) bool { return h.Name != manifestName }), "it was not finished")
	refused(rewritten(t, whole, func(h *tar.Header) bool { return h.Name != "state/keys/root" }), "state/keys/root is missing")
	refused(rewritten(t, whole, func(h *tar.Header) bool {
		if h.Name == "state/keys/root" {
			h.Name = "../root"
		}
		return true
	}), `"../root" is no file of a backup`)
	refused(bytes.Replace(whole, []byte(`"format": 1`), []byte(`"format": 9`), 1), "it is of format 9")
}

// rewritten is an archive with what keep has left of it.
func rewritten(t *testing.T, archive []byte, keep func(*tar.Header) bool) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			require.NoError(t, w.Close())
			return out.Bytes()
		}
		require.NoError(t, err)
		if keep(h) {
			require.NoError(t, w.WriteHeader(h))
			_, err = io.Copy(w, r)
			require.NoError(t, err)
		}
	}
}

// A database that is damaged is noticed when it is backed up, and not when it is needed.
func TestADamagedDatabaseIsNoBackup(t *testing.T) {
	dir := stateOf(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "service", "shop", "db.sqlite"), append([]byte(magic), make([]byte, 5000)...), 0o600))
	archive := filepath.Join(t.TempDir(), "platform.tar")
	_, err := Create(t.Context(), Config{Archive: archive, State: dir})
	require.ErrorContains(t, err, "db.sqlite")
	left, err := os.ReadDir(filepath.Dir(archive))
	require.NoError(t, err)
	require.Empty(t, left)
}

// What changes and what vanishes between two looks is in the copy as it was at the last one.
func TestMirror(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(from, name), []byte(text), 0o600))
	}
	write("old", "1")
	require.NoError(t, os.Chtimes(filepath.Join(from, "old"), time.Now(), time.Now().Add(-time.Hour)))
	write("same size", "1")
	write("gone", "1")
	m := &mirror{from: from, to: to, copied: make(map[string]stamp)}
	require.NoError(t, m.update(t.Context()))
	first := m.copied["old"].at
	info, err := os.Stat(filepath.Join(from, "same size"))
	require.NoError(t, err)
	write("same size", "2")
	require.NoError(t, os.Chtimes(filepath.Join(from, "same size"), info.ModTime(), info.ModTime()), "as within one tick of the clock")
	require.NoError(t, os.Remove(filepath.Join(from, "gone")))
	write("new", "1")
	require.NoError(t, m.update(t.Context()))
	require.Equal(t, first, m.copied["old"].at, "what has not changed is not copied again")
	text, err := os.ReadFile(filepath.Join(to, "same size"))
	require.NoError(t, err)
	require.Equal(t, "2", string(text))
	require.NoFileExists(t, filepath.Join(to, "gone"))
	require.FileExists(t, filepath.Join(to, "new"))
}
