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
type configuration struct {
	pb.ConfigHandler
	// database returns the address of a service's database; empty for a file.
	database func(service string) string
}

// databaseKey is what a service looks up before it opens its database.
var databaseKey = regexp.MustCompile(`^([a-z][a-z0-9_]*)\.db\.address$`)

func newConfiguration(h pb.ConfigHandler) *configuration {
	return &configuration{h, profile.DatabaseAddress}
}

// Get implements pb.ConfigHandler.
func (c *configuration) Get(ctx context.Context, req *pb.GetRequest, rsp *pb.GetResponse) error {
	err := c.ConfigHandler.Get(ctx, req, rsp)
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
