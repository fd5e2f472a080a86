package service_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
)

// BenchmarkVerify is what a key costs the core, beside the RPC.
func BenchmarkVerify(b *testing.B) {
	r := oneRoom(b)
	jane := r.customer(b, "jane@example.com", service.Active)
	_, text := r.generate(b, jane.ID)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			_, err := r.keys.Verify(b.Context(), text)
			require.NoError(b, err)
		}
	})
}
