package gateway

import (
	"context"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/client"

	billing "github.com/m3o/backend/billing/proto"
	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/auth/token"
	usage "github.com/m3o/backend/usage/proto"
)

// Services returns a Config with clients of the services that the gateway asks. The secret is that of the part of the platform
// that the gateway runs in, from which those are derived that it calls what is sold with.
func Services(c client.Client, secret string) Config {
	accounts := pb.NewAuthService("auth", c)
	return Config{
		Keys:    customers.NewKeysService("customers", c),
		Usage:   usage.NewUsageService("usage", c),
		Billing: billing.NewBillingService("billing", c),
		Login: func(ctx context.Context, service string) (string, error) {
			id := token.GatewayID(service)
			rsp, err := accounts.Token(ctx, &pb.TokenRequest{
				Id: id, Secret: token.GatewaySecret(secret, id), TokenExpiry: int64(token.MaxAccess.Seconds()),
			})
			if err != nil {
				return "", err
			}
			return rsp.GetToken().GetAccessToken(), nil
		},
	}
}
