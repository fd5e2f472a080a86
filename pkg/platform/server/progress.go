package server

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/state"
)

// progress prints what has happened and when, in seconds since the start.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	begin time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out: out, begin: time.Now()} }

func (p *progress) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.begin).Seconds(), what) // nobody may be looking
}

// welcome tells where everything is and what to try.
func welcome(out io.Writer, addresses state.Addresses, others *others, try []string) error {
	password, err := state.AdminPassword()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  HTTP API  http://%s\n  State     %s\n  Logs      %s\n  Login     %s, password %s\n",
		addresses.Of("api"), state.Dir(), state.Logs(), state.Admin, password)
	for _, e := range profile.Engines() {
		fmt.Fprintf(&b, "  %-9s %s\n", e[0], e[1])
	}
	if addresses.TLS != "" {
		fmt.Fprintf(&b, "  TLS       %s\n", addresses.Certificates("<name>"))
	}
	for _, s := range others.list {
		fmt.Fprintf(&b, "  %-9s http://%s (%s)\n", s.title, addresses.StandIn(s.name), s.note)
	}
	if len(try) > 0 {
		b.WriteString("\nTry, in another terminal:\n\n")
	}
	for _, command := range try {
		b.WriteString("  " + command + "\n")
	}
	b.WriteString("\nCtrl-C stops it.\n")
	_, _ = io.WriteString(out, b.String()) // nobody may be looking
	return nil
}
