package core

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"

	pb "github.com/micro/micro/v3/proto/config"
	merrors "github.com/micro/micro/v3/service/errors"

	"github.com/m3o/backend/pkg/platform/profile"
)

// configuration is Micro's handler of the configuration, which also knows where the databases of services are that nobody
// has configured: a service on the platform profile must not keep what it knows in a file of whatever machine it runs on.
//
// Micro's handler keeps a namespace as one record, which it reads, changes and writes: of two changes at once, one would be
// acknowledged and lost. Here they are made one after the other. That is enough while one process is the config service.
type configuration struct {
	pb.ConfigHandler
	// changing has room for one, who changes something.
	changing chan struct{}
	// database returns the address of a service's database; empty for a file.
	database func(service string) string
}

// databaseKey is what a service looks up before it opens its database.
var databaseKey = regexp.MustCompile(`^([a-z][a-z0-9_]*)\.db\.address$`)

func newConfiguration(h pb.ConfigHandler) *configuration {
	return &configuration{h, make(chan struct{}, 1), profile.DatabaseAddress}
}

// Set implements pb.ConfigHandler.
func (c *configuration) Set(ctx context.Context, req *pb.SetRequest, rsp *pb.SetResponse) error {
	return c.alone(ctx, "config.Config.Set", func() error { return c.ConfigHandler.Set(ctx, req, rsp) })
}

// Delete implements pb.ConfigHandler.
func (c *configuration) Delete(ctx context.Context, req *pb.DeleteRequest, rsp *pb.DeleteResponse) error {
	return c.alone(ctx, "config.Config.Delete", func() error { return c.ConfigHandler.Delete(ctx, req, rsp) })
}

// alone makes a change while nobody else makes one. Whoever has waited in vain is told so while they still listen.
func (c *configuration) alone(ctx context.Context, endpoint string, change func() error) error {
	select {
	case c.changing <- struct{}{}:
	case <-ctx.Done():
		return merrors.Timeout(endpoint, "another change takes too long")
	}
	defer func() { <-c.changing }()
	return unreachable(change())
}

// Get implements pb.ConfigHandler.
func (c *configuration) Get(ctx context.Context, req *pb.GetRequest, rsp *pb.GetResponse) error {
	err := unreachable(c.ConfigHandler.Get(ctx, req, rsp))
	key := databaseKey.FindStringSubmatch(req.Path)
	if key == nil || !isUnset(err, rsp) {
		return err
	}
	address := c.database(key[1])
	if address == "" {
		return err
	}
	text, err := json.Marshal(address)
	if err != nil {
		return err
	}
	rsp.Value = &pb.Value{Data: string(text)}
	return nil
}

// isUnset tells whether Micro's answer means that there is no such value.
func isUnset(err error, rsp *pb.GetResponse) bool {
	if err != nil {
		e := merrors.FromError(err)
		return e != nil && e.Code == http.StatusNotFound
	}
	return rsp.GetValue().GetData() == "" || rsp.GetValue().GetData() == "null"
}
