package database

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	const expected = "x.db.address: expected postgres://user@host:port/database, or nothing for SQLite"
	for text, want := range map[string]string{
		`null`:                         "",
		`"postgres://m3o@db:5432/m3o"`: "",
		`"postgresql://m3o@db/m3o?sslmode=verify-full"`: "",
		`"postgres:///m3o?host=/run/postgresql"`:        "",
		`""`:                                            expected,
		`5432`:                                          expected,
		`"db:5432"`:                                     expected,
		`"mysql://db/m3o"`:                              expected,
		`"postgres"`:                                    expected,
		`"postgresqlite://x/y"`:                         expected,
		`"host=db user=m3o"`:                            expected,
		`"postgres://%zz"`:                              expected,
		`"[secret]"`:                                    "x.db.address: expected a plain value: Micro does not decrypt this one",
		`"postgres://m3o:s3cr3t@db/m3o"`:                "x.db.address: must not contain a password: give it with PGPASSFILE or PGPASSWORD",
		`"postgres://m3o@db/m3o?password=s3cr3t"`: "x.db.address: must not contain a password: give it with PGPASSFILE or PGPASSWORD",
	} {
		for _, text := range []string{text, strings.Trim(text, `"`)} { // Micro gives a string without its quotes
			err := checkAddress("x.db.address", []byte(text))
			if want == "" {
				assert.NoError(t, err, text)
				continue
			}
			assert.EqualError(t, err, want, text)
		}
	}
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		`SELECT $1, $12`:                              `SELECT ?1, ?12`,
		`SELECT '$1', "$2", '', 'it''s $3', $4`:       `SELECT '$1', "$2", '', 'it''s $3', ?4`,
		`SELECT a FROM b WHERE c = $1 FOR UPDATE`:     `SELECT a FROM b WHERE c = ?`,
		"SELECT a\n  for update skip locked LIMIT $1": `SELECT a LIMIT ?`,
		`VALUES ($1, $2), ($3, '$9')`:                 `VALUES (?, ?), (?, '$9')`,
		`SELECT $2, $1`:                               `SELECT ?2, ?1`,
		`SELECT $1, $1`:                               `SELECT ?1, ?1`,
		`SELECT ' FOR UPDATE'`:                        `SELECT ' FOR UPDATE'`,
		`SELECT FOR_UPDATED`:                          `SELECT FOR_UPDATED`,
		`SELECT 'open`:                                `SELECT 'open`,
		``:                                            ``,
	} {
		assert.Equal(t, want, SQLite.rewrite(query))
		assert.Equal(t, want, SQLite.rewrite(query), "from memory")
		assert.Equal(t, query, PostgreSQL.rewrite(query))
	}
}

// Whatever is in quotes stays as it is.
func TestRewriteQuotes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := "'" + strings.ReplaceAll(rapid.String().Draw(t, "text"), "'", "''") + "'"
		assert.Equal(t, "SELECT "+text+", ?", SQLite.rewrite("SELECT "+text+", $1"))
	})
}

func TestUnknownErrorsAreKept(t *testing.T) {
	t.Parallel()
	err := errors.New("else")
	require.Equal(t, err, translate(err))
	require.NoError(t, translate(nil))
	require.False(t, Passing(err))
}
