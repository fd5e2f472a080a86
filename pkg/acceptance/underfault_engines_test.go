//go:build platform

package acceptance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/m3o/backend/pkg/acceptance/faultproxy"
	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/profile"
)

// node is a server of an engine and the proxy before it, through which clients reach it.
type node struct {
	name   string
	server *engine.Server
	proxy  *faultproxy.Proxy
	dir    string
	// small says that its directory is a disk of its own, which can be filled.
	small bool
}

// engines are the platform's, with more than one server each.
type engines struct {
	etcd     []*node
	redis    []*node
	sentinel *node
	postgres []*node
	// primary is which of postgres takes changes.
	primary int
}

// diskSize is how large the disk of one server is.
const diskSize = "400m"

func startEngines(t *testing.T, seed uint64) *engines {
	t.Helper()
	dir, err := os.MkdirTemp("", "underfault-*")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711)) // PostgreSQL's user has to get to its own
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	newNode := func(name string) *node {
		proxy, err := faultproxy.Listen(seed)
		require.NoError(t, err)
		n := &node{name: name, proxy: proxy, dir: filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))}
		require.NoError(t, os.Mkdir(n.dir, 0o711))
		n.small = syscall.Mount("tmpfs", n.dir, "tmpfs", 0, "size="+diskSize) == nil
		t.Cleanup(func() {
			if n.server != nil {
				_ = n.server.Signal(syscall.SIGCONT)
				require.NoError(t, n.server.Stop())
			}
			require.NoError(t, proxy.Close())
			if n.small {
				require.NoError(t, syscall.Unmount(n.dir, syscall.MNT_DETACH))
			}
		})
		return n
	}
	e := &engines{
		etcd:     []*node{newNode("etcd 1"), newNode("etcd 2"), newNode("etcd 3")},
		redis:    []*node{newNode("Redis 1"), newNode("Redis 2")},
		sentinel: newNode("Sentinel"),
		postgres: []*node{newNode("PostgreSQL 1"), newNode("PostgreSQL 2")},
	}
	var starting errgroup.Group
	starting.Go(func() error { return e.startEtcd(t.Context()) })
	starting.Go(func() error { return e.startRedis(t.Context()) })
	starting.Go(func() error { return e.startPostgres(t.Context()) })
	require.NoError(t, starting.Wait())
	return e
}

func (n *node) config(args ...string) engine.Config {
	return engine.Config{Dir: n.dir, Announce: n.proxy.Address(), Args: args}
}

// open has the proxy lead to the server.
func (n *node) open(s *engine.Server, err error) error {
	if err != nil {
		return err
	}
	n.server = s
	n.proxy.To(s.Host())
	return nil
}

func (e *engines) startEtcd(ctx context.Context) error {
	var configs []engine.Config
	for _, n := range e.etcd {
		configs = append(configs, n.config())
	}
	servers, err := engine.EtcdCluster(ctx, configs...)
	for i, n := range e.etcd {
		err = errors.Join(err, n.open(servers[i], err))
	}
	return err
}

func (e *engines) startRedis(ctx context.Context) error {
	one, two := e.redis[0], e.redis[1]
	err := one.open(engine.Redis(ctx, one.config()))
	if err != nil {
		return err
	}
	following := two.config()
	following.Follows = one.proxy.Address()
	if err := two.open(engine.Redis(ctx, following)); err != nil {
		return err
	}
	looking := e.sentinel.config()
	looking.Follows = one.proxy.Address()
	return e.sentinel.open(engine.Sentinel(ctx, looking))
}

// postgresArgs keep the disk small, and have a standby come back at once.
var postgresArgs = []string{"-c", "max_wal_size=64MB", "-c", "min_wal_size=32MB", "-c", "wal_retrieve_retry_interval=200ms"}

func (e *engines) startPostgres(ctx context.Context) error {
	one, two := e.postgres[0], e.postgres[1]
	if err := one.open(engine.Postgres(ctx, one.config(postgresArgs...))); err != nil {
		return err
	}
	following := two.config(postgresArgs...)
	following.Follows = one.server.Host()
	if err := two.open(engine.Postgres(ctx, following)); err != nil {
		return err
	}
	return one.server.AwaitStandby(ctx)
}

// env is the environment of a platform on them.
func (e *engines) env() []string {
	return []string{
		profile.Env + "=" + profile.Platform,
		"MICRO_ETCD_ADDRESS=" + e.etcdAddress(),
		"MICRO_REDIS_ADDRESS=redis+sentinel://" + e.sentinel.proxy.Address() + "/" + engine.SentinelMaster,
		"MICRO_POSTGRES_ADDRESS=postgres://postgres@" + addresses(e.postgres) +
			"/postgres?sslmode=disable&target_session_attrs=read-write&connect_timeout=3",
	}
}

func (e *engines) etcdAddress() string { return "etcd://" + addresses(e.etcd) + "/underfault" }

func addresses(nodes []*node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.proxy.Address())
	}
	return strings.Join(all, ",")
}

// all are all servers.
func (e *engines) all() []*node {
	all := append([]*node{e.sentinel}, e.etcd...)
	return append(append(all, e.redis...), e.postgres...)
}

// leader is etcd's, and another member.
func (e *engines) leader(ctx context.Context) (leader, other *node) {
	leader, other = e.etcd[0], e.etcd[1]
	for i, n := range e.etcd {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{n.server.Host()}, DialTimeout: time.Second})
		if err != nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, time.Second)
		status, err := client.Status(asking, n.server.Host())
		cancel()
		_ = client.Close()
		if err == nil && status.Leader == status.Header.MemberId {
			return n, e.etcd[(i+1)%len(e.etcd)]
		}
	}
	return leader, other
}

// master is Redis's, and its replica.
func (e *engines) master(ctx context.Context) (master, replica *node, err error) {
	// Sentinel knows best: of two that take themselves for one, clients go to the one that it names.
	client := redis.NewSentinelClient(&redis.Options{Addr: e.sentinel.server.Host()})
	defer client.Close() //nolint:errcheck // it was only asked
	at, err := client.GetMasterAddrByName(ctx, engine.SentinelMaster).Result()
	if err != nil {
		return nil, nil, err
	}
	for i, n := range e.redis {
		if strings.Join(at, ":") == n.proxy.Address() {
			return n, e.redis[1-i], nil
		}
	}
	return nil, nil, fmt.Errorf("there is no Redis server at %s", at)
}

// whole says whether Redis's replica and PostgreSQL's standby have what is acknowledged, so that the next failover can come.
func (e *engines) whole(ctx context.Context) bool {
	_, replica, err := e.master(ctx)
	if err != nil {
		return false
	}
	client := redis.NewClient(&redis.Options{Addr: replica.server.Host()})
	defer client.Close() //nolint:errcheck // it was only asked
	info, err := client.Info(ctx, "replication").Result()
	if err != nil || !strings.Contains(info, "role:slave") || !strings.Contains(info, "master_link_status:up") {
		return false
	}
	n, err := e.postgres[e.primary].server.SQL(ctx, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
	return err == nil && strings.TrimSpace(n) == "1"
}

// revive starts whoever has ended.
func (e *engines) revive(ctx context.Context) error {
	for _, n := range e.all() {
		if !n.server.Running() {
			if err := n.server.Start(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill fills the disk of a server, until the file is removed that it returns.
func (n *node) fill() (string, error) {
	ballast := filepath.Join(n.dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return "", err
	}
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return "", errors.Join(err, f.Close(), os.Remove(ballast))
	}
	return ballast, f.Close()
}
