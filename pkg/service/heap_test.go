package service

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAHeapGrowsFarOnlyWhileItIsSmall(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0: 400, 1: 400, 5 * mib: 400, 12 * mib: 400, 16 * mib: 300, 20 * mib: 220, 31 * mib: 106, 32 * mib: 100, 60 * mib: 100,
		64 * mib: 100, 1 << 40: 100,
	} {
		require.Equal(t, want, percentFor(live), "%d bytes", live)
	}
}
