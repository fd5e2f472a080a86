//go:build !long

package events_test

import "time"

// How much is done to the processes of the fault tests.
const (
	faultEvents = 3_000
	faultKills  = 2
	faultAway   = time.Second
)
