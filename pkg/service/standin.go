package service

import (
	"os"
	"strings"
)

// StandIn returns where what stands in for a service of somebody else listens while the platform has no account there, as in
// http://127.0.0.1:8089 and without a slash at its end; empty when nothing does. The names are "stripe" and "mixpanel". It is the
// value of MICRO_STANDIN_STRIPE or MICRO_STANDIN_MIXPANEL, which the runtime gives the services of the platform and none that is
// sold. Whoever asks decides between it and the real one: nothing that is configured gives way to it.
func StandIn(name string) string {
	return strings.TrimRight(os.Getenv("MICRO_STANDIN_"+strings.ToUpper(name)), "/")
}
