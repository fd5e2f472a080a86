package core

import (
	"context"
	"testing"

	pb "github.com/micro/micro/v3/proto/store"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/postgres"
)

// failing is a handler of the store with one answer.
type failing struct {
	pb.StoreHandler
	err error
}

func (f failing) Write(context.Context, *pb.WriteRequest, *pb.WriteResponse) error { return f.err }

func TestAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	away := merrors.InternalServerError("store.Store.Write", postgres.Failure+"PostgreSQL at db:5432 cannot be reached")
	err := records{failing{err: away}}.Write(t.Context(), nil, nil)
	require.Equal(t, kinds.KindUnavailable, kinds.KindOf(err))
	require.NotContains(t, err.Error(), "5432", "where it is concerns nobody")

	wrong := merrors.BadRequest("store.Store.Write", "a key is missing")
	require.Equal(t, error(wrong), records{failing{err: wrong}}.Write(t.Context(), nil, nil))
	require.NoError(t, records{failing{}}.Write(t.Context(), nil, nil))
}
