package edge

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPanicSaysNothing(t *testing.T) {
	t.Parallel()
	client, h, log := setupLogged(t)
	client.panics = "jane@example.com"
	requireError(t, do(t, h, "POST", "/customers/Create", "{}"), 500, "internal error, request ")
	require.Len(t, log.all, 2)
	require.Contains(t, log.all[0], "error request id=")
	require.Contains(t, log.all[0], "panic with a value of type string\n")
	require.Contains(t, log.all[0], "edge_test.go", "where it was")
	require.Contains(t, log.all[1], "status=500")
	require.NotContains(t, strings.Join(log.all, "\n"), "jane")
}

// What has been answered in part is not made whole.
func TestPanicInAnAnswerBreaksItOff(t *testing.T) {
	t.Parallel()
	log := &lines{}
	h := chain(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{"))
		_ = make([]int, 1)[len(log.all)+1]
	}), recovered(log.write))
	require.PanicsWithError(t, http.ErrAbortHandler.Error(), func() { do(t, h, "GET", "/", "") })
	require.Contains(t, log.all[0], "index out of range")
}
