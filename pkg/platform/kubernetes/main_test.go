package kubernetes

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// ending is what has to be done after the last test, in the opposite order.
var ending []func() error

func atEnd(f func() error) { ending = append(ending, f) }

// startEnv makes the test's own binary what a pod runs, with what it says as arguments.
const startEnv = "TEST_KUBERNETES_START"

func TestMain(m *testing.M) {
	if args := os.Getenv(startEnv); args != "" {
		fmt.Println(Command(context.Background(), strings.Fields(args))) // it returns only when it fails
		os.Exit(1)
	}
	before := goleak.IgnoreCurrent() // what Micro's packages start when they are imported
	code := m.Run()
	for i := len(ending) - 1; i >= 0; i-- {
		if err := ending[i](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	// Micro's memory registries, which the servers of tests register at, never end, nor does what watches one of them, which
	// is started after the import.
	const micro = "github.com/micro/micro/v3/service/"
	registries := goleak.IgnoreAnyFunction(micro + "registry/memory.(*Registry).ttlPrune")
	watcher := goleak.IgnoreAnyFunction(micro + "router/registry.(*table).Watch.func1")
	if err := goleak.Find(before, registries, watcher); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
