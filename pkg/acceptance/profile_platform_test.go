//go:build platform

package acceptance

import (
	"database/sql"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver for PostgreSQL
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/profile"
)

// databases counts those of Redis that are in use.
var databases atomic.Int64

// profileEnv is the environment of a platform of the platform profile, with which it has a part of its own of each engine.
func profileEnv(t *testing.T) []string {
	t.Helper()
	name := "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	return []string{
		profile.Env + "=" + profile.Platform,
		"MICRO_ETCD_ADDRESS=" + engineAddress(t, engine.EtcdEnv) + "/" + name,
		"MICRO_REDIS_ADDRESS=" + engineAddress(t, engine.RedisEnv) + "/" + strconv.FormatInt(databases.Add(1), 10),
		"MICRO_POSTGRES_ADDRESS=" + newDatabase(t, name),
	}
}

func engineAddress(t *testing.T, variable string) string {
	t.Helper()
	address := os.Getenv(variable)
	require.NotEmpty(t, address, "%s must have the address of a server (bin/withengines)", variable)
	return address
}

// newDatabase makes a database, which goes with its server.
func newDatabase(t *testing.T, name string) string {
	t.Helper()
	u, err := url.Parse(engineAddress(t, engine.PostgresEnv))
	require.NoError(t, err)
	server, err := sql.Open("pgx", u.String())
	require.NoError(t, err)
	defer server.Close() //nolint:errcheck // the test goes on without
	_, err = server.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}
