package postgres

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	kinds "github.com/m3o/backend/pkg/errors"
)

func TestAServerThatIsAwayIs503(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]kinds.Kind{
		diskFull: kinds.KindUnavailable, "57P01": kinds.KindUnavailable, "53300": kinds.KindUnavailable, "42P01": kinds.KindInternal,
	} {
		cause := &pgconn.PgError{Code: code, Message: "db.internal says no"}
		err := fmt.Errorf("read an account: %w", &failure{"the store: no", cause, away(cause)})
		require.Equal(t, want, kinds.KindOf(err), code)
		if e, ok := errors.AsType[*kinds.Error](err); ok {
			require.NotContains(t, e.Error(), "internal")
		}
	}
}
