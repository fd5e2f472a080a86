package direct_test

import (
	"context"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/registry"
	memory "github.com/micro/micro/v3/service/registry/memory"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/servicetest"

	"github.com/micro/micro/v3/service/server"
)

// shapes remembers what token a call came with.
type shapes struct {
	pb.ShapesHandler
	seen chan string
}

func (s *shapes) Echo(ctx context.Context, _ *pb.EchoRequest, _ *pb.EchoResponse) error {
	authorization, _ := metadata.Get(ctx, "Authorization")
	s.seen <- authorization
	return nil
}

// A service that is sold does not get to know the token of whoever calls it, nor that of the service that does.
func TestSoldServiceSeesNoToken(t *testing.T) {
	t.Parallel()
	h := &shapes{seen: make(chan string, 1)}
	s := servicetest.Serve(t, "shaper", func(s server.Server) error { return pb.RegisterShapesHandler(s, h) })
	token := "Bearer " + servicetest.Token(servicetest.Admin)
	for _, sold := range []string{"", "true"} {
		reg := memory.NewRegistry()
		require.NoError(t, reg.Register(&registry.Service{Name: "shaper", Version: "latest", Nodes: []*registry.Node{
			{Id: "shaper-1", Address: s.Address, Metadata: map[string]string{direct.SoldKey: sold}},
		}}))
		c := direct.New(direct.Config{Registry: reg, Credentials: func() (string, string) { return "micro", servicetest.Token(servicetest.Admin) }})
		ctx := metadata.Set(t.Context(), "Authorization", token)
		for _, opts := range [][]client.CallOption{nil, {client.WithAuthToken()}} {
			_, err := pb.NewShapesService("shaper", c).Echo(ctx, new(pb.EchoRequest), append(opts, client.WithRequestTimeout(10*time.Second))...)
			require.NoError(t, err)
			require.Equal(t, want(sold, token), <-h.seen)
		}
		// A token that is good in this service only is what it does get, and not one for another.
		for service, want := range map[string]string{"shaper": "Bearer " + servicetest.Token(nil), "other": want(sold, token)} {
			own := direct.WithTokenFor(ctx, &direct.TokenFor{Service: service, Authorization: "Bearer " + servicetest.Token(nil)})
			for _, opts := range [][]client.CallOption{nil, {client.WithAuthToken()}} {
				_, err := pb.NewShapesService("shaper", c).Echo(own, new(pb.EchoRequest), append(opts, client.WithRequestTimeout(10*time.Second))...)
				require.NoError(t, err)
				require.Equal(t, want, <-h.seen)
			}
		}
		require.NoError(t, c.Close())
	}
}

// want is the header that a service gets to see.
func want(sold, authorization string) string {
	if sold != "" {
		return ""
	}
	return authorization
}
