//go:build platform

package etcd

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(readerEnv); address != "" {
		if err := reader(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run()) // Micro's servers, which a test starts, leave goroutines behind
}
