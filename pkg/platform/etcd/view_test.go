package etcd

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/registry"
	"github.com/stretchr/testify/require"
)

// put is a change that puts a node of service s, with an address.
func put(t testing.TB, id string, revision int64, address string) change {
	t.Helper()
	text, err := json.Marshal(value{Address: address})
	require.NoError(t, err)
	return change{key: nodeID{"micro", "s", "1", id}.key("/micro/"), value: text, revision: revision}
}

func gone(id string, revision int64) change {
	return change{key: nodeID{"micro", "s", "1", id}.key("/micro/"), deleted: true, revision: revision}
}

func (v *view) size() int {
	n := 0
	for _, s := range v.list(registry.WildcardDomain) {
		n += len(s.Nodes)
	}
	return n
}

// loaded is a view that has read nodes at a time.
func loaded(t testing.TB, now time.Time, changes ...change) *view {
	t.Helper()
	v := newView("/micro/")
	v.begin("epoch", now)
	v.read(changes)
	v.finish(10, now)
	return v
}

func TestDisappearance(t *testing.T) {
	t.Parallel()
	now := time.Now()
	v := loaded(t, now, put(t, "a", 1, ""), put(t, "b", 2, ""), put(t, "c", 3, ""))
	v.apply([]change{gone("a", 11)}, now)
	require.Equal(t, 2, v.size(), "it was deregistered")

	// etcd is away, and has revoked leases before it says the next word.
	now = now.Add(silence + 1)
	v.apply([]change{gone("b", 12), gone("c", 13)}, now)
	require.Equal(t, 2, v.size())
	require.False(t, v.has(nodeID{"micro", "s", "1", "b"}, "/micro/micro/s/1/b", 2))
	w := v.watch("micro", "")
	now = now.Add(linger / 2)
	v.apply([]change{put(t, "b", 14, "")}, now)
	now = now.Add(linger / 2)
	v.expire(now)
	require.Equal(t, 1, v.size())
	result, err := w.Next()
	require.NoError(t, err)
	require.Equal(t, "delete", result.Action)
	require.Equal(t, "c", result.Service.Nodes[0].Id, "and nothing was told of b")

	for range suspicion / beat {
		now = now.Add(beat)
		v.touch(now)
	}
	v.apply([]change{gone("b", 15)}, now)
	require.Zero(t, v.size())
	require.Empty(t, v.services)
	require.Empty(t, v.described)
}

func TestNothingExpiresWhileAway(t *testing.T) {
	t.Parallel()
	now := time.Now()
	v := loaded(t, now, put(t, "a", 1, ""))
	v.begin("another", now)
	v.finish(1, now)
	require.Equal(t, 1, v.size())
	require.True(t, v.same("another", 1))
	require.False(t, v.same("epoch", 100))
	now = now.Add(time.Hour)
	v.expire(now)
	require.Equal(t, 1, v.size())
	v.touch(now)
	v.expire(now)
	require.Equal(t, 1, v.size(), "nobody could register until now")
	v.expire(now.Add(linger))
	require.Zero(t, v.size())
}

func TestUnreadableEntries(t *testing.T) {
	t.Parallel()
	now := time.Now()
	v := loaded(t, now, put(t, "a", 1, "x"))
	broken := put(t, "a", 11, "")
	broken.value = []byte("{")
	other := put(t, "b", 12, "")
	other.value = []byte(`{"description":"AAAA"}`)
	v.apply([]change{broken, other, {key: epochKey("/micro/"), value: []byte("x"), revision: 13}}, now)
	found := v.get("micro", "s")
	require.Len(t, found, 1)
	require.Len(t, found[0].Nodes, 1)
	require.Equal(t, "x", found[0].Nodes[0].Address)
}

func TestSlowWatcher(t *testing.T) {
	t.Parallel()
	now := time.Now()
	v := loaded(t, now)
	slow, quick := v.watch("micro", ""), v.watch("micro", "other")
	for i := range maxUnread + 1 {
		v.apply([]change{put(t, "a", int64(11+i), fmt.Sprint(i))}, now)
	}
	_, err := slow.Next()
	require.ErrorIs(t, err, errSlow)
	require.Len(t, v.watchers, 1, "nobody has to stop it")
	quick.Stop()
	_, err = quick.Next()
	require.ErrorIs(t, err, registry.ErrWatcherStopped)
}
