package process

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Caller makes one call after the other; each of those that call at once has its own.
type Caller func(ctx context.Context) error

// Obey calls as it is told on standard input, until that ends. The first call may fail for a while: not everybody it
// takes may be there already.
func Obey(newCaller func() (Caller, error)) error {
	first, err := newCaller()
	if err != nil {
		return err
	}
	for until := time.Now().Add(startTime); ; time.Sleep(50 * time.Millisecond) {
		if err = first(context.Background()); err == nil {
			break
		}
		if time.Now().After(until) {
			return fmt.Errorf("the first call: %w", err)
		}
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var callers, milliseconds int
		if _, err := fmt.Sscan(in.Text(), &callers, &milliseconds); err != nil {
			return err
		}
		rate, err := Measure(context.Background(), newCaller, callers, time.Duration(milliseconds)*time.Millisecond)
		if err != nil {
			return err
		}
		fmt.Println(rate)
	}
	return nil
}

// Measure calls for a while, so many at once, and returns how many calls a second there were.
func Measure(ctx context.Context, newCaller func() (Caller, error), callers int, long time.Duration) (float64, error) {
	var wg sync.WaitGroup
	var done atomic.Int64
	failed := make(chan error, callers)
	ready := make([]Caller, callers)
	for i := range ready {
		var err error
		if ready[i], err = newCaller(); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	for _, call := range ready {
		wg.Go(func() {
			calls := int64(0)
			for time.Since(began) < long {
				if err := call(ctx); err != nil {
					failed <- err
					break
				}
				calls++
			}
			done.Add(calls)
		})
	}
	wg.Wait()
	took := time.Since(began)
	close(failed)
	return float64(done.Load()) / took.Seconds(), <-failed
}
