package database_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
)

// crashMode makes the test binary a process that writes to a SQLite file until it is killed, and prints the id of each
// row after it was committed.
const crashMode = "DATABASE_TEST_CRASH"

func crash(address string) bool {
	if address == "" {
		return false
	}
	must := func(err error) {
		if err != nil {
			fmt.Println(err) //nolint:forbidigo // the test reads it
			os.Exit(1)
		}
	}
	pool, err := sql.Open("sqlite3", address)
	must(err)
	db, err := database.New(database.Config{Name: "bench", Pool: pool, Migrations: first})
	must(err)
	var wg sync.WaitGroup
	for w := range int64(8) {
		wg.Go(func() {
			for id := w + 1; ; id += 8 {
				must(db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
					return add(ctx, tx, id, fmt.Sprint("note ", id), nil)
				}))
				_, err := os.Stdout.WriteString(strconv.FormatInt(id, 10) + "\n")
				must(err)
			}
		})
	}
	wg.Wait()
	return true
}

func TestKilledWriterLosesNothing(t *testing.T) {
	t.Parallel()
	for _, after := range []int{1, 50, 500} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			// A path that has to be quoted on its way to SQLite.
			address := "file:" + t.TempDir() + "/a%20b%3fc.sqlite"
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), crashMode+"="+address)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			acknowledged := make(map[int64]bool)
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				id, err := strconv.ParseInt(lines.Text(), 10, 64)
				require.NoError(t, err, lines.Text())
				acknowledged[id] = true
				if len(acknowledged) == after {
					require.NoError(t, cmd.Process.Kill())
				}
			}
			require.Error(t, cmd.Wait())
			require.GreaterOrEqual(t, len(acknowledged), after)

			pool, err := sql.Open("sqlite3", address)
			require.NoError(t, err)
			db, err := database.New(database.Config{Name: "bench", Pool: pool, Migrations: first})
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, db.Close()) })
			for id := range acknowledged {
				var n int
				require.NoError(t, db.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM bench_notes WHERE id = $1`, id).Scan(&n))
				require.Equal(t, 1, n, "row %d was acknowledged", id)
			}
			var check string
			require.NoError(t, db.Read().QueryRow(t.Context(), `PRAGMA integrity_check`).Scan(&check))
			assert.Equal(t, "ok", check)
		})
	}
}

func BenchmarkTx(b *testing.B) {
	db := databasetest.Open(b, "bench", first)
	id := int64(0)
	for b.Loop() {
		id++
		require.NoError(b, db.Tx(b.Context(), func(ctx context.Context, tx database.Querier) error {
			return add(ctx, tx, id, "note", nil)
		}))
	}
}
