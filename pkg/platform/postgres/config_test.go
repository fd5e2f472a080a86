package postgres

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadConfig(t *testing.T) { //nolint:paralleltest // the environment
	dir := t.TempDir()
	for address, want := range map[string]string{
		"":                                     "MICRO_POSTGRES_ADDRESS is not set: expected an address such as postgres://user@host:5432/database?sslmode=verify-full",
		"host:5432":                            "MICRO_POSTGRES_ADDRESS: expected an address such as postgres://user@host:5432/database?sslmode=verify-full",
		"mysql://user@host/db":                 "MICRO_POSTGRES_ADDRESS: expected an address such as postgres://user@host:5432/database?sslmode=verify-full",
		"postgres:///db":                       "MICRO_POSTGRES_ADDRESS: expected an address such as postgres://user@host:5432/database?sslmode=verify-full",
		"postgres://u:%zz@host":                "MICRO_POSTGRES_ADDRESS: expected an address such as postgres://user@host:5432/database?sslmode=verify-full",
		"postgres://u:secret@host/db":          "MICRO_POSTGRES_ADDRESS: must not contain a password: give it with PGPASSFILE or PGPASSWORD",
		"postgres://u@host/db?password=secret": "MICRO_POSTGRES_ADDRESS: must not contain a password: give it with PGPASSFILE or PGPASSWORD",
		"postgres://u@host/db?sslmode=maybe":   "MICRO_POSTGRES_ADDRESS: sslmode is invalid",
		"postgres://u@host/db?pool_max_conns=0": "MICRO_POSTGRES_ADDRESS: expected an address such as " +
			"postgres://user@host:5432/database?sslmode=verify-full",
		"postgres://u@host/db?sslmode=verify-full&sslrootcert=" + dir + "/none": "MICRO_POSTGRES_ADDRESS: unable to read CA file: " +
			"open " + dir + "/none: no such file or directory",
	} {
		t.Setenv(Variable, address)
		_, err := ReadConfig()
		require.EqualError(t, err, want, address)
	}

	t.Setenv(Variable, "postgres://u@host/db")
	t.Setenv("PGPASSFILE", filepath.Join(dir, "none"))
	_, err := ReadConfig()
	require.EqualError(t, err, "PGPASSFILE: open "+dir+"/none: no such file or directory")
	file := filepath.Join(dir, "pgpass")
	require.NoError(t, os.WriteFile(file, []byte("host:*:*:u:secret\n"), 0o600))
	t.Setenv("PGPASSFILE", file)
	c, err := ReadConfig()
	require.NoError(t, err)
	pool, err := c.pool()
	require.NoError(t, err)
	require.EqualValues(t, maxConns, pool.MaxConns)

	// The password is read again for each connection.
	require.Equal(t, "secret", pool.ConnConfig.Password)
	require.NoError(t, os.WriteFile(file, []byte("host:*:*:u:changed\n"), 0o600))
	next := pool.ConnConfig.Copy()
	require.NoError(t, pool.BeforeConnect(t.Context(), next))
	require.Equal(t, "changed", next.Password)

	t.Setenv(Variable, "postgres://u@one:5432,two:5433/db?pool_max_conns=3&target_session_attrs=read-write")
	c, err = ReadConfig()
	require.NoError(t, err)
	pool, err = c.pool()
	require.NoError(t, err)
	require.EqualValues(t, 3, pool.MaxConns)
	require.Equal(t, "one", pool.ConnConfig.Host)
	require.NoError(t, pool.BeforeConnect(t.Context(), pool.ConnConfig.Copy()))

	t.Setenv(Variable, "postgres:///db?host=one,two&port=5432,5433")
	_, err = ReadConfig()
	require.NoError(t, err)
}

func TestAfter(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "a\xff\xff": "b", "\x00": "\x01", "ab": "ac"} {
		require.Equal(t, want, string(after(prefix)))
	}
	require.Nil(t, after(""))
	require.Nil(t, after("\xff\xff"))
}
