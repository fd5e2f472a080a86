// Package bench is what the programs in pkg/bench/<group> share. Each of them measures one group of figures and prints
// every figure as one line,
//
//	BENCH <group>/<name> value=<v> unit=<u> bar=<b> ok|SHORT
//
// which `make bench only=<group>` shows. A figure that compares two things measures both in the same run and in turns,
// because a machine is not equally fast twice, and takes the median of the turns, because one turn may be disturbed.
package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Side is one side of a comparison: it does its work once and returns the figure of that turn.
type Side func(ctx context.Context) (float64, error)

// Interleave lets the sides take turns, in reversed order every other round so that none always has the warmer machine,
// and returns the median of each. One round more is made first and thrown away: it fills caches for all of them.
func Interleave(ctx context.Context, rounds int, sides ...Side) ([]float64, error) {
	if rounds < 1 {
		return nil, fmt.Errorf("bench: %d rounds: at least one is needed", rounds)
	}
	figures := make([][]float64, len(sides))
	for round := -1; round < rounds; round++ {
		for turn := range sides {
			i := turn
			if round%2 != 0 {
				i = len(sides) - 1 - turn
			}
			figure, err := sides[i](ctx)
			if err != nil {
				return nil, fmt.Errorf("bench: side %d: %w", i, err)
			}
			if round >= 0 {
				figures[i] = append(figures[i], figure)
			}
		}
	}
	medians := make([]float64, len(sides))
	for i := range figures {
		medians[i] = Median(figures[i])
	}
	return medians, nil
}

// Median returns the middle figure, the mean of the two middle ones when their number is even. It needs at least one.
func Median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Report prints the lines of one group and remembers whether one was short. It is not for concurrent use.
type Report struct {
	group string
	out   io.Writer
	short bool
	// barless says that there are figures only.
	barless bool
}

// NewReport returns a report that prints to out.
func NewReport(out io.Writer, group string) *Report {
	return &Report{group: group, out: out}
}

// WithoutBars makes all that is reported figures to look at.
func (r *Report) WithoutBars() *Report {
	r.barless = true
	return r
}

// AtLeast prints a figure that is good when it reaches the bar: a throughput, a ratio.
func (r *Report) AtLeast(name string, value float64, unit string, bar float64) {
	r.print(name, value, unit, number(bar), value >= bar)
}

// AtMost prints a figure that is good when it stays within the bar: a latency, a size.
func (r *Report) AtMost(name string, value float64, unit string, bar float64) {
	r.print(name, value, unit, number(bar), value <= bar)
}

// Figure prints a figure without a bar, such as one side of a ratio, to be read and compared by people.
func (r *Report) Figure(name string, value float64, unit string) {
	r.print(name, value, unit, "none", true)
}

// ExitCode returns what the program ends with: 1 when a figure was short of its bar.
func (r *Report) ExitCode() int {
	if r.short {
		return 1
	}
	return 0
}

func (r *Report) print(name string, value float64, unit, bar string, ok bool) {
	if r.barless {
		bar, ok = "none", true
	}
	verdict := "ok"
	if !ok { // a value that is no number is short as well: no comparison with it holds
		verdict = "SHORT"
		r.short = true
	}
	// Whoever reads the line splits it at spaces. That it cannot be written shows where it is read.
	_, _ = fmt.Fprintf(r.out, "BENCH %s/%s value=%s unit=%s bar=%s %s\n",
		word(r.group), word(name), number(value), word(unit), bar, verdict)
}

func word(s string) string { return strings.Join(strings.Fields(s), "-") }

// number writes a figure with about four digits that mean something, and never with an exponent.
func number(v float64) string {
	decimals := 6
	switch size := math.Abs(v); {
	case size >= 1000:
		decimals = 0
	case size >= 10:
		decimals = 2
	case size >= 0.1:
		decimals = 4
	}
	return trim(strconv.FormatFloat(v, 'f', decimals, 64))
}

func trim(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
