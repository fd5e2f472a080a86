package service_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
)

// BenchmarkVerify is what a key costs the core, beside the RPC, when many are asked about at once.
func BenchmarkVerify(b *testing.B) {
	r := oneRoom(b)
	jane := r.customer(b, "jane@example.com", service.Active)
	texts := make([]string, 100)
	for i := range texts {
		_, texts[i] = r.generate(b, jane.ID)
	}
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			_, err := r.keys.Verify(b.Context(), texts[rand.IntN(len(texts))])
			require.NoError(b, err)
		}
	})
}
