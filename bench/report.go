package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// results has the results of all rounds, by workload and target.
type results map[*workload]map[*target][]*result

func (r results) add(w *workload, t *target, res *result) {
	if r[w] == nil {
		r[w] = make(map[*target][]*result)
	}
	r[w][t] = append(r[w][t], res)
}

// figures are reported for a target in a workload: medians of all rounds.
type figures struct {
	cpu, events, first, p50, p99, memory float64
	lost, broken                         int

	// The same, divided by the baseline's in the same round.
	cpuRatio, memoryRatio spread
}

// spread is the median of several figures, with the minimum and the maximum.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	return spread{median(values), slices.Min(values), slices.Max(values)}
}

// figures returns the figures of a target. Ratios need the baseline's result of the same round.
func (r results) figures(w *workload, t *target) figures {
	var f figures
	of := func(value func(*result) float64) float64 {
		var values []float64
		for _, res := range r[w][t] {
			values = append(values, value(res))
		}
		return median(values)
	}
	f.cpu = of(func(res *result) float64 { return microseconds(res.cpu) })
	f.events = of(func(res *result) float64 { return res.events })
	f.first = of(func(res *result) float64 { return milliseconds(res.first) })
	f.p50 = of(func(res *result) float64 { return milliseconds(res.p50) })
	f.p99 = of(func(res *result) float64 { return milliseconds(res.p99) })
	f.memory = of(func(res *result) float64 { return float64(res.memory) / 1024 })
	for _, res := range r[w][t] {
		f.lost += res.lost
		f.broken += res.broken
	}

	var cpu, memory []float64
	for i, base := range r.baseline(w, t) {
		if i < len(r[w][t]) {
			cpu = append(cpu, float64(r[w][t][i].cpu)/float64(base.cpu))
			memory = append(memory, float64(r[w][t][i].memory)/float64(base.memory))
		}
	}
	f.cpuRatio, f.memoryRatio = spreadOf(cpu), spreadOf(memory)
	return f
}

// baseline returns the results of the target that t is compared with.
func (r results) baseline(w *workload, t *target) []*result {
	name := cmp.Or(t.baseline, baseline)
	for t, rounds := range r[w] {
		if t.name == name {
			return rounds
		}
	}
	return nil
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// print writes a table of a workload.
func (r results) print(out io.Writer, w *workload) {
	fmt.Fprintf(out, "\n%s: %s\n", w.name, w.what)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, strings.Join(columns(w), "\t")+"\t")
	for _, t := range targets {
		if len(r[w][t]) > 0 {
			fmt.Fprintln(table, strings.Join(r.row(w, t), "\t")+"\t")
		}
	}
	table.Flush()
}

// markdown writes the same table in Markdown.
func (r results) markdown(out io.Writer, w *workload) {
	fmt.Fprintf(out, "\n**%s**: %s\n\n", w.name, w.what)
	head := columns(w)
	fmt.Fprintf(out, "| %s |\n|---%s|\n", strings.Join(head, " | "), strings.Repeat("|--:", len(head)-1))
	for _, t := range targets {
		if len(r[w][t]) > 0 {
			fmt.Fprintf(out, "| %s |\n", strings.Join(r.row(w, t), " | "))
		}
	}
}

func columns(w *workload) []string {
	head := []string{"", "CPU µs per " + string(w.count), "× " + baseline, "least–most"}
	if w.hold {
		return append(head, "KiB per stream", "× "+baseline, "least–most", "lost or duplicated")
	}
	return append(head, "events/s", "first event ms", "latency ms p50", "p99", "lost or duplicated")
}

func (r results) row(w *workload, t *target) []string {
	f := r.figures(w, t)
	ofProxy := func(cells ...string) []string {
		if t.name == direct { // there is no proxy to measure
			clear(cells)
		}
		return cells
	}
	row := append([]string{t.name}, ofProxy(significant(f.cpu), f.cpuRatio.middle(), f.cpuRatio.ends())...)
	lost := fmt.Sprint(f.lost)
	if f.broken > 0 {
		lost += fmt.Sprintf(", %d without a finish", f.broken)
	}
	if w.hold {
		row = append(row, ofProxy(fmt.Sprintf("%.1f", f.memory), f.memoryRatio.middle(), f.memoryRatio.ends())...)
		return append(row, lost)
	}
	return append(row, fmt.Sprintf("%.0f", f.events), fmt.Sprintf("%.2f", f.first), fmt.Sprintf("%.2f", f.p50), fmt.Sprintf("%.2f", f.p99), lost)
}

func (s spread) middle() string { return fmt.Sprintf("%.2f", s.median) }

func (s spread) ends() string { return fmt.Sprintf("%.2f–%.2f", s.least, s.most) }

// significant formats a number with three significant digits.
func significant(x float64) string {
	switch {
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}
