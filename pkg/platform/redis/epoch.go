package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// lives are the replication ids of the servers that events are written to. A server has another one whenever what it has may
// not be what was acknowledged: when it was started again, and when it has become the master in place of another.
type lives struct {
	mu    sync.Mutex
	nodes map[string]string
}

// note notes the id that a server has, and returns the epoch: that id when there is one server only.
func (l *lives) note(server, id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes[server] != id {
		l.nodes[server] = id
	}
	return l.name()
}

// replace notes the ids of all servers that there are.
func (l *lives) replace(nodes map[string]string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes = nodes
	return l.name()
}

func (l *lives) name() string {
	ids := slices.Sorted(maps.Values(l.nodes))
	if len(ids) == 1 {
		return ids[0]
	}
	sum := sha256.Sum256([]byte(strings.Join(ids, " ")))
	return hex.EncodeToString(sum[:20])
}

// nameOf is what a server is noted by. With Sentinels, the one that there is has changing addresses.
func (s *Stream) nameOf(node *redis.Client) string {
	if _, ok := s.client.(*redis.ClusterClient); ok {
		return node.Options().Addr
	}
	return ""
}

// ask asks all servers for their ids and returns the epoch.
func (s *Stream) ask(ctx context.Context) (string, error) {
	var mu sync.Mutex
	nodes := make(map[string]string)
	err := s.each(ctx, func(ctx context.Context, node *redis.Client) error {
		text, err := node.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		id, err := lifeOf(text)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		nodes[s.nameOf(node)] = id
		return nil
	})
	if err != nil {
		return "", err
	}
	return s.lives.replace(nodes), nil
}

// lifeOf reads the replication id of a server that is a master.
func lifeOf(info string) (string, error) {
	if role := field(info, "role"); role != "master" {
		return "", errors.New("the server is no master")
	}
	id := field(info, "master_replid")
	if id == "" {
		return "", errors.New("the server does not say which one it is")
	}
	return id, nil
}
