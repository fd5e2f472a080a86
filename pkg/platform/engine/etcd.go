package engine

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Etcd starts an etcd server, a cluster of itself unless it is told of other members.
func Etcd(ctx context.Context, config Config) (*Server, error) {
	k := &etcd{members: config.Cluster}
	if len(k.members) == 0 {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		k.members = []Member{{Name: "etcd", Peer: port}}
	}
	return start(ctx, k, config)
}

// EtcdCluster starts a cluster of etcd servers, one for each configuration, whose Cluster it fills in.
func EtcdCluster(ctx context.Context, configs ...Config) ([]*Server, error) {
	var members []Member
	for i := range configs {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		members = append(members, Member{Name: fmt.Sprintf("etcd-%d", i+1), Peer: port})
	}
	servers := make([]*Server, len(configs))
	var starting errgroup.Group // one alone is not ready
	for i, config := range configs {
		config.Cluster = slices.Concat(members[i:], members[:i])
		starting.Go(func() (err error) { servers[i], err = Etcd(ctx, config); return err })
	}
	return servers, starting.Wait()
}

// Member is one of a cluster of etcd servers. The first of Config.Cluster is the one that is started.
type Member struct {
	Name string
	// Peer is the port where the others reach it.
	Peer int
}

func (m Member) url() string { return fmt.Sprintf("http://127.0.0.1:%d", m.Peer) }

type etcd struct{ members []Member }

func (*etcd) name() string { return "etcd" }

func (*etcd) prepare(context.Context, *Server) error { return nil }

func (k *etcd) command(s *Server) (*exec.Cmd, error) {
	path, err := program("etcd", "etcd")
	if err != nil {
		return nil, err
	}
	var cluster []string
	for _, m := range k.members {
		cluster = append(cluster, m.Name+"="+m.url())
	}
	args := []string{
		"--name", k.members[0].Name, "--data-dir", s.data(),
		"--listen-client-urls", "http://" + s.Host(), "--advertise-client-urls", "http://" + s.announced(),
		"--listen-peer-urls", k.members[0].url(), "--initial-advertise-peer-urls", k.members[0].url(),
		"--initial-cluster", strings.Join(cluster, ","), "--logger", "zap", "--log-level", "warn",
	}
	return exec.Command(path, append(args, s.config.Args...)...), nil //nolint:noctx // it is found on the PATH, and ended by Stop
}

// ready takes a server that speaks TLS for ready as soon as it listens.
func (*etcd) ready(ctx context.Context, s *Server) bool {
	if strings.Contains(strings.Join(s.config.Args, " "), "https://") {
		return answers(ctx, s.Host(), "", "")
	}
	return answers(ctx, s.Host(), "GET /health HTTP/1.0\r\n\r\n", "HTTP/1.0 200")
}

func (*etcd) stop() []syscall.Signal { return []syscall.Signal{syscall.SIGTERM} }

func (*etcd) address(port int) string { return fmt.Sprintf("etcd://127.0.0.1:%d", port) }
