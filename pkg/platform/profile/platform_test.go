package profile

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNeeds(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string][]string{
		"MICRO_ETCD_ADDRESS":        {"registry", "broker", "store", "config", "auth", "events", "proxy", "api", "runtime"},
		"MICRO_REDIS_PASSWORD_FILE": {"broker", "events"},
		"MICRO_POSTGRES_ADDRESS":    {"store", "config", "auth", "runtime"},
	} {
		var need []string
		for _, service := range []string{"registry", "broker", "store", "config", "auth", "events", "proxy", "api", "runtime"} {
			if Needs(service, variable) {
				need = append(need, service)
			}
		}
		require.Equal(t, want, need, variable)
	}
}

func TestDatabaseAddress(t *testing.T) { //nolint:paralleltest // the environment
	t.Setenv(Env, "")
	t.Setenv(DatabaseEnv, "")
	t.Setenv("MICRO_POSTGRES_ADDRESS", "postgres://host/store")
	require.Empty(t, DatabaseAddress("usage"), "the embedded profile has files")
	t.Setenv(Env, Platform)
	require.Equal(t, "postgres://host/store", DatabaseAddress("usage"))
	t.Setenv(DatabaseEnv, "postgres://%s@host/%s")
	require.Equal(t, "postgres://usage@host/usage", DatabaseAddress("usage"))
}

func TestWhichProfile(t *testing.T) { //nolint:paralleltest // the environment
	t.Setenv(Env, "")
	require.NoError(t, Check())
	require.NoError(t, Try(), "nothing has to be there")
	t.Setenv(Env, "cloud")
	require.EqualError(t, Check(), "MICRO_PROFILE: expected embedded or platform")

	t.Setenv(Env, Platform)
	for _, variable := range []string{"MICRO_ETCD_ADDRESS", "MICRO_REDIS_ADDRESS", "MICRO_POSTGRES_ADDRESS"} {
		t.Setenv(variable, "")
	}
	require.NoError(t, Check())
	require.ErrorContains(t, Try(), "_ADDRESS is not set: expected an address such as ")
}
