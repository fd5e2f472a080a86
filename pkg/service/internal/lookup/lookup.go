// Package lookup knows where in a context Micro and gRPC keep what is known of a call. Their own functions copy all of it
// each time that they are asked; what is found here is theirs, and must not be changed.
package lookup

import (
	"context"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/context/metadata"
	grpcmetadata "google.golang.org/grpc/metadata"
)

// The keys have types that nobody else can name, but whoever looks something up has to say which.
var (
	// MetadataKey is that of Micro's metadata.
	MetadataKey = keyOf(func(ctx context.Context) { metadata.FromContext(ctx) })
	// AccountKey is that of Micro's account, an *auth.Account.
	AccountKey = keyOf(func(ctx context.Context) { auth.AccountFromContext(ctx) })

	incomingKey = keyOf(func(ctx context.Context) { grpcmetadata.FromIncomingContext(ctx) })
)

// Incoming returns what came with a call by gRPC; its keys are in lower case.
func Incoming(ctx context.Context) grpcmetadata.MD {
	if md, ok := ctx.Value(incomingKey).(grpcmetadata.MD); ok {
		return md
	}
	md, _ := grpcmetadata.FromIncomingContext(ctx) // should gRPC ever keep it in another form
	return md
}

// Metadata returns Micro's metadata. Its keys are as they were set, in any case.
func Metadata(ctx context.Context) metadata.Metadata {
	if md, ok := ctx.Value(MetadataKey).(metadata.Metadata); ok {
		return md
	}
	md, _ := metadata.FromContext(ctx)
	return md
}

// asked is a context that remembers what it was asked for.
type asked struct {
	context.Context
	key any
}

// Value implements context.Context.
func (a *asked) Value(key any) any {
	a.key = key
	return nil
}

func keyOf(look func(context.Context)) any {
	a := &asked{Context: context.Background()}
	look(a)
	return a.key
}
