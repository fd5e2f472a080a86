package etcd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// names are such as are likely to be taken for something else.
func names() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.StringMatching(`[a/%.*2F\x00-\x02]{0,6}`), rapid.Just(""))
}

func ids() *rapid.Generator[nodeID] {
	return rapid.Custom(func(t *rapid.T) nodeID {
		return nodeID{names().Draw(t, "domain"), names().Draw(t, "service"), names().Draw(t, "version"), names().Draw(t, "node")}
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	root := Config{Prefix: "a/b"}.root()
	rapid.Check(t, func(t *rapid.T) {
		one, two := ids().Draw(t, "one"), ids().Draw(t, "two")
		parsed, ok := parseKey(root, one.key(root))
		require.True(t, ok)
		require.Equal(t, one, parsed)
		require.Equal(t, one == two, one.key(root) == two.key(root))
		require.NotEqual(t, epochKey(root), one.key(root))
	})
}

// Whatever else is in etcd is no node, or it is the only key of it.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	const root = "/micro/"
	rapid.Check(t, func(t *rapid.T) {
		key := root + rapid.OneOf(rapid.String(), rapid.StringMatching(`([a%/]|%2[fF5]|%61){0,12}`)).Draw(t, "key")
		if id, ok := parseKey(root, key); ok {
			require.Equal(t, key, id.key(root))
		}
	})
	for _, key := range []string{"", "/other/a/b/c/d", "/micro/", epochKey(root), "/micro/a/b/c", "/micro/a/b/c/d/e", "/micro/%61/b/c/d"} {
		_, ok := parseKey(root, key)
		require.False(t, ok, key)
	}
}

func TestRoot(t *testing.T) { //nolint:paralleltest // it sets the environment
	for address, want := range map[string]string{
		"etcd://a": "/micro/", "etcd://a,b:1/": "/micro/", "etcd://a/m3o": "/m3o/", "etcds://a/x/y/": "/x/y/", "etcd://a/%20": "/ /",
	} {
		t.Setenv("MICRO_ETCD_ADDRESS", address)
		config, err := ReadConfig()
		require.NoError(t, err)
		require.Equal(t, want, config.root())
		require.True(t, strings.HasSuffix(config.Endpoint.Hosts[0], ":2379"))
	}
}
