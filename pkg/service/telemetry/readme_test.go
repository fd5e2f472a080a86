package telemetry_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/telemetry"
)

// row is a line of the table of metrics.
var row = regexp.MustCompile("(?m)^\\| `(rpc_\\w+)` \\| (\\w+) \\| ([`\\w, ]+) \\|")

func TestReadmeListsTheMetrics(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	documented := make(map[string]string)
	for _, m := range row.FindAllStringSubmatch(string(readme), -1) {
		labels := strings.Split(strings.ReplaceAll(m[3], "`", ""), ", ")
		slices.Sort(labels)
		documented[m[1]] = m[2] + " " + strings.Join(labels, ",")
	}

	r := telemetry.New(telemetry.Config{})
	r.Method("a", "A.B", false).Begin(t.Context()).End(200)
	_, call := r.Client(t.Context(), "b", "B.C")
	call.End(nil)
	r.Connection("b", "", "READY")
	families, err := r.Registry().Gather()
	require.NoError(t, err)
	answered := make(map[string]string)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "rpc_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		answered[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	require.Equal(t, answered, documented)
}
