package direct

import "sync/atomic"

const (
	// retryShare is how many calls pay for one retry.
	retryShare = 10
	// retryBurst is how many retries there are for a client that has not called for long.
	retryBurst = 10
)

// budget bounds retries to a share of the calls, so that they cannot double the load of services that are failing under
// it. It counts in tenths of a retry.
type budget struct{ spent atomic.Int64 }

// earn pays in for a call.
func (b *budget) earn() {
	for {
		n := b.spent.Load()
		if n <= 0 || b.spent.CompareAndSwap(n, n-1) {
			return
		}
	}
}

// take pays for a retry; false when there is nothing left.
func (b *budget) take() bool {
	for {
		n := b.spent.Load()
		if n+retryShare > retryBurst*retryShare {
			return false
		}
		if b.spent.CompareAndSwap(n, n+retryShare) {
			return true
		}
	}
}
