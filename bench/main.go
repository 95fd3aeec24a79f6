// Command bench compares the cost of a chat through this module with the cost through other proxies, on one machine and in
// one run:
//
//	go run ./bench
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// upstreamCommand is the argument with which the program starts itself as the upstream. An address follows, and for TLS the
// folder of a certificate.
const upstreamCommand = "upstream"

func main() {
	if len(os.Args) > 2 && os.Args[1] == upstreamCommand {
		fail(upstreamMain(os.Args[2], os.Args[3:]))
	}
	var b bench
	flag.IntVar(&b.rounds, "rounds", 3, "number of rounds; targets take turns within a round")
	workloadNames := flag.String("workloads", "", "workloads to run, separated by commas; empty: all")
	targetNames := flag.String("targets", "", "targets to run, separated by commas; empty: all that are installed")
	growth := flag.Bool("growth", false, "also measure how costs grow")
	write := flag.Bool("write", false, "also write the results into bench/README.md, and with -growth the graphs next to it")
	flag.StringVar(&b.profiles, "profiles", "", "a folder for a CPU profile of Caddy in each run; it is created if it does not exist")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.main(ctx, *workloadNames, *targetNames, *growth, *write); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func upstreamMain(address string, dir []string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if len(dir) > 0 {
		return serveHTTP2Upstream(l, dir[0])
	}
	return serveUpstream(l)
}

// bench is one call of the program.
type bench struct {
	rig
	rounds  int
	targets []*target
}

func (b *bench) main(ctx context.Context, workloadNames, targetNames string, growth, write bool) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if b.profiles != "" {
		if err := os.MkdirAll(b.profiles, 0o755); err != nil {
			return err
		}
	}
	if err := b.build(ctx, dir); err != nil {
		return err
	}
	if b.targets, err = choose(targets, targetNames, func(t *target) string { return t.name }); err != nil {
		return err
	}
	b.targets = slices.DeleteFunc(b.targets, func(t *target) bool {
		missing := t.missing()
		if missing != "" {
			progress("without %s: %s", t.name, missing)
		}
		return missing != ""
	})
	chosen, err := choose(workloads, workloadNames, func(w *workload) string { return w.name })
	if err != nil {
		return err
	}

	var page bytes.Buffer
	fmt.Fprintf(&page, "%s; medians of %d rounds.\n", describeMachine(b.caddy, b.targets), b.rounds)
	all := make(results)
	for _, w := range chosen {
		if err := b.compare(ctx, w, b.targets, all); err != nil {
			return err
		}
		all.print(os.Stdout, w)
		all.markdown(&page, w)
	}
	if growth {
		if err := b.draw(ctx, write, &page); err != nil {
			return err
		}
	}
	if write {
		return writeResults(page.String())
	}
	return nil
}

// build compiles the Caddy that is measured. The upstream is this program itself.
func (b *bench) build(ctx context.Context, dir string) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	b.caddy = filepath.Join(dir, "caddy")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.caddy, "./cmd/caddy")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building ./cmd/caddy, which must run in the top folder of the repository: %w", err)
	}
	return nil
}

// choose returns those of all whose names are listed. If names is empty, it returns all.
func choose[T any](all []T, names string, name func(T) string) (chosen []T, err error) {
	if names == "" {
		return slices.Clone(all), nil
	}
	for wanted := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(t T) bool { return name(t) == wanted })
		if i < 0 {
			return nil, fmt.Errorf("there is no %q", wanted)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// compare runs a workload with the targets in turns.
func (b *bench) compare(ctx context.Context, w *workload, targets []*target, all results) error {
	if most := mostStreams(); w.streams > most {
		w.what += fmt.Sprintf(" (here %d, because of the open-file limit)", most)
		w.streams = most
	}
	for round := range b.rounds {
		for _, t := range targets {
			progress("%s, round %d of %d: %s", w.name, round+1, b.rounds, t.name)
			res, err := b.run(ctx, w, t)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, t.name, err)
			}
			all.add(w, t, res)
		}
	}
	return nil
}

// draw measures how costs grow, prints that, and draws the graphs.
func (b *bench) draw(ctx context.Context, write bool, page *bytes.Buffer) error {
	compared, err := choose(targets, module+","+baseline, func(t *target) string { return t.name })
	if err != nil {
		return err
	}
	for _, growth := range growths {
		g := graph{title: growth.title, x: growth.x, y: growth.y, logarithmic: growth.logarithmic}
		for _, t := range compared {
			g.lines = append(g.lines, line{name: t.name})
		}
		fmt.Printf("\n%s (%s)\n", growth.title, growth.y)
		for _, point := range growth.points {
			w := growth.work(point)
			all := make(results)
			if err := b.compare(ctx, w, compared, all); err != nil {
				return err
			}
			g.points = append(g.points, float64(point))
			fmt.Printf("%12s", w.name)
			for i, t := range compared {
				var costs []float64
				for _, res := range all[w][t] {
					costs = append(costs, growth.cost(res))
				}
				g.lines[i].costs = append(g.lines[i].costs, median(costs))
				fmt.Printf("  %s %.1f", t.name, median(costs))
			}
			fmt.Println()
		}
		fmt.Fprintf(page, "\n![%s](%s.svg)\n", growth.title, growth.name)
		if write {
			if err := os.WriteFile(filepath.Join("bench", growth.name+".svg"), []byte(g.svg()), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// The lines in bench/README.md between which the results are.
const (
	resultsBegin = "<!-- results, by go run ./bench -write -->\n"
	resultsEnd   = "<!-- end of results -->\n"
)

func writeResults(page string) error {
	const file = "bench/README.md"
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), resultsBegin)
	_, after, ended := strings.Cut(rest, resultsEnd)
	if !found || !ended {
		return errors.New(file + " has no place for results")
	}
	return os.WriteFile(file, []byte(before+resultsBegin+page+resultsEnd+after), 0o644)
}
