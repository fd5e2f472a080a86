package lookup_test

import (
	"context"
	"testing"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/stretchr/testify/require"
	grpcmetadata "google.golang.org/grpc/metadata"

	"github.com/m3o/backend/pkg/service/internal/lookup"
)

// What is found is the very thing that was put there, and no copy: should Micro or gRPC change how they keep it, calls
// would still be right, but slower.
func TestFoundWithoutACopy(t *testing.T) { //nolint:paralleltest // it counts allocations
	came := grpcmetadata.MD{"traceparent": {"one"}, "authorization": {"Bearer x"}}
	known := metadata.Metadata{"Authorization": "Bearer x", "tenant": "m3o"}
	account := &auth.Account{ID: "jane"}
	ctx := auth.ContextWithAccount(metadata.NewContext(grpcmetadata.NewIncomingContext(t.Context(), came), known), account)

	require.Equal(t, came, lookup.Incoming(ctx))
	require.Equal(t, known, lookup.Metadata(ctx))
	require.Same(t, account, ctx.Value(lookup.AccountKey))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		lookup.Incoming(ctx)
		lookup.Metadata(ctx)
	}))
}

func TestNothingToFind(t *testing.T) {
	t.Parallel()
	require.Empty(t, lookup.Incoming(t.Context()))
	require.Empty(t, lookup.Metadata(t.Context()))
	require.Nil(t, t.Context().Value(lookup.AccountKey))
}

// A context of our own that answers to the keys is as good as one that Micro has made.
func TestKeysAreThoseThatMicroAsksFor(t *testing.T) {
	t.Parallel()
	ctx := answers{t.Context(), map[any]any{
		lookup.MetadataKey: metadata.Metadata{"tenant": "m3o"},
		lookup.AccountKey:  &auth.Account{ID: "jane"},
	}}
	md, ok := metadata.FromContext(ctx)
	require.True(t, ok)
	require.Equal(t, metadata.Metadata{"Tenant": "m3o"}, md)
	account, ok := auth.AccountFromContext(ctx)
	require.True(t, ok)
	require.Equal(t, "jane", account.ID)
}

type answers struct {
	context.Context
	all map[any]any
}

func (a answers) Value(key any) any { return a.all[key] }
