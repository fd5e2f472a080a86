package redis

import (
	"context"
	"embed"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var sources embed.FS

// What has to be done at once is done by scripts in the server. Whatever they use of a topic is in one slot of a cluster.
var (
	publishScript  = script("publish")
	joinScript     = script("join")
	claimScript    = script("claim")
	putBackScript  = script("putback")
	leaveScript    = script("leave")
	trimScript     = script("trim")
	readScript     = script("read")
	registerScript = script("register")
)

// maxReply is about how many bytes of events a server answers with at once.
const maxReply = 16 << 20

// errAnswer says that a script has answered what it never does.
var errAnswer = errors.New("an answer of another form than expected")

// lua is a script with its text, which the client's own type does not tell.
type lua struct {
	*redis.Script
	text string
}

func script(name string) lua {
	text, err := sources.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // it is embedded
	}
	return lua{redis.NewScript(string(text)), string(text)}
}

// load makes the server know the scripts that a member uses without their texts.
func load(ctx context.Context, p redis.Pipeliner) {
	for _, s := range []lua{claimScript, putBackScript, leaveScript} {
		p.ScriptLoad(ctx, s.text) // the type's own Load is not for pipelines
	}
}

// node is the server that has a key. What is said to it goes over its own connections, so that it is never said twice.
func (s *Stream) node(ctx context.Context, key string) (*redis.Client, error) {
	switch c := s.client.(type) {
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	case *redis.Client:
		return c, nil
	default:
		return nil, redis.ErrClosed // connect makes no other
	}
}

// moved finds out where keys are in a cluster, when an error says that they are elsewhere.
func (s *Stream) moved(err error) {
	c, ok := s.client.(*redis.ClusterClient)
	if ok && err != nil && s.ctx.Err() == nil {
		if text := err.Error(); !strings.HasPrefix(text, "NOSCRIPT") && !strings.HasPrefix(text, "OOM") {
			c.ReloadState(s.ctx)
		}
	}
}
