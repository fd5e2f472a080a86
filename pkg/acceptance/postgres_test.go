//go:build platform

package acceptance

import (
	"database/sql"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver for PostgreSQL
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/story"
	"github.com/m3o/backend/pkg/database/databasetest"
)

// The story does not know where the services keep what they know.
func TestStoryOnPostgreSQL(t *testing.T) {
	t.Parallel()
	address := os.Getenv(databasetest.AddressEnv)
	require.NotEmpty(t, address, "%s must have the address of a PostgreSQL server", databasetest.AddressEnv)
	server, err := sql.Open("pgx", address)
	require.NoError(t, err)
	defer server.Close() //nolint:errcheck // the test ends
	name := "story_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = server.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Path = "/" + name

	p := boot(t)
	for _, service := range []string{"customers", "signup", "usage", "mixpanel"} {
		out, err := p.Run(t.Context(), "config", "set", service+".db.address", u.String())
		require.NoError(t, err, out)
	}
	require.Zero(t, p.stop(t))
	require.True(t, p.start(t, services...))
	require.NoError(t, story.Play(t.Context(), story.Config{Client: p.Client, Source: repository, Out: t.Output()}))

	var customers int
	database, err := sql.Open("pgx", u.String())
	require.NoError(t, err)
	defer database.Close() //nolint:errcheck // the test ends
	require.NoError(t, database.QueryRowContext(t.Context(), "SELECT count(*) FROM customers_customers").Scan(&customers))
	require.Positive(t, customers, "the customers are in PostgreSQL")
}
