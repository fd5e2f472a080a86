//go:build !platform

package acceptance

import "testing"

// profileEnv is the environment of a platform of the embedded profile, which needs nothing.
func profileEnv(*testing.T) []string { return nil }
