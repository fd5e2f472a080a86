//go:build long

package events_test

import "time"

// How much is done to the processes of the fault tests.
const (
	faultEvents = 100_000
	faultKills  = 20
	faultAway   = time.Minute
)
