package postgres

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadConfig(t *testing.T) { //nolint:paralleltest // the environment
	dir := t.TempDir()
	const (
		expected = Variable + ": expected an address such as " + example
		password = Variable + ": must not contain a password: give it with PGPASSFILE or PGPASSWORD"
	)
	for address, want := range map[string]string{
		"":                                      Variable + " is not set: expected an address such as " + example,
		"host:5432":                             expected,
		"mysql://user@host/db":                  expected,
		"postgres:///db":                        expected,
		"postgres://u:%zz@host":                 expected,
		"postgres://u:secret@host/db":           password,
		"postgres://u@host/db?password=secret":  password,
		"postgres://u@host/db?sslmode=maybe":    "MICRO_POSTGRES_ADDRESS: sslmode is invalid",
		"postgres://u@host/db?pool_max_conns=0": expected,
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
