package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const (
	// longestRun bounds a run, in case something hangs.
	longestRun = 2 * time.Minute

	// The warm-up of a fresh proxy and upstream, before they are measured.
	warmUpStreams, warmUpChats, warmUpEvents = 32, 20, 20

	// settling is the pause before the memory of held streams is measured.
	settling = 2 * time.Second
)

// result has the figures of one run.
type result struct {
	cpu      time.Duration // of the proxy, for a unit of the workload
	events   float64       // a second
	first    time.Duration // the median
	p50, p99 time.Duration // from the upstream's writing to the visitor's reading
	memory   int           // bytes a held stream
	lost     int
	broken   int
}

// rig has the programs that all runs use.
type rig struct {
	caddy    string // the program
	self     string // the program that is also the upstream
	profiles string // the folder for profiles of Caddy; empty: no profiles
}

// run does a workload once, with an upstream and a proxy of its own.
func (r *rig) run(ctx context.Context, w *workload, t *target) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, longestRun)
	defer cancel()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)

	upstream := freeAddress()
	args := []string{upstreamCommand, upstream}
	if err := writeCertificate(dir); err != nil {
		return nil, err
	}
	if t.tls {
		args = append(args, dir)
	}
	p, err := start(exec.Command(r.self, args...))
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := p.listens(ctx, upstream); err != nil {
		return nil, err
	}
	if t.name == direct {
		return measure(w, &site{address: upstream, header: "Authorization: Bearer " + token + "\r\n"}, nil)
	}

	address, admin := freeAddress(), "off"
	if r.profiles != "" {
		admin = freeAddress()
	}
	cmd, err := t.command(dir, r.caddy, address, upstream, admin)
	if err != nil {
		return nil, err
	}
	proxy, err := start(cmd)
	if err != nil {
		return nil, err
	}
	defer proxy.stop()
	if err := proxy.listens(ctx, address); err != nil {
		return nil, err
	}
	if isCaddy := t.needs == "" || t.redis; isCaddy && r.profiles != "" {
		profile := filepath.Join(r.profiles, w.name+"-"+t.name+".pprof")
		defer writeProfile(profile, "http://"+admin+"/debug/pprof/profile?seconds=3")()
	}
	return measure(w, &site{address: address, protocol: t.visitors}, proxy)
}

// writeProfile asks a Go program for a profile of itself, and returns a function that waits for it.
func writeProfile(file, url string) (wait func()) {
	done := make(chan error, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			done <- err
			return
		}
		defer resp.Body.Close()
		profile, err := io.ReadAll(resp.Body)
		done <- errors.Join(err, os.WriteFile(file, profile, 0o644))
	}()
	return func() {
		if err := <-done; err != nil {
			progress("%s: %v", file, err)
		}
	}
}

// measure lets visitors do a workload at a site. proxy is nil if the site is the upstream.
func measure(w *workload, s *site, proxy *process) (*result, error) {
	use := func() (usage, error) {
		if proxy == nil {
			return usage{}, nil
		}
		return proxy.usage()
	}
	warmUp := &workload{streams: warmUpStreams, chats: warmUpChats, events: warmUpEvents, burst: 1}
	if _, err := s.visit(warmUp, func() {}); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}

	before, err := use()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	var open usage
	var openErr error
	saw, err := s.visit(w, func() {
		if w.hold {
			time.Sleep(settling)
		}
		if w.hold || w.steady {
			open, openErr = use()
		}
	})
	took := time.Since(began)
	if err := errors.Join(err, openErr); err != nil {
		return nil, err
	}
	after, err := use()
	if err != nil {
		return nil, err
	}

	units := saw.events
	switch {
	case w.count == perChat:
		units = saw.chats
	case w.count == perStream:
		units = w.streams
	case w.steady:
		units, before.cpu = saw.steady, open.cpu
	}
	res := &result{
		cpu:    (after.cpu - before.cpu) / time.Duration(max(units, 1)),
		events: float64(saw.events) / took.Seconds(),
		first:  percentile(saw.first, 0.5),
		p50:    percentile(saw.latency, 0.5),
		p99:    percentile(saw.latency, 0.99),
		lost:   saw.lost,
		broken: saw.broken,
	}
	if w.hold {
		res.memory = (open.memory - before.memory) / w.streams
	}
	return res, nil
}

// percentile returns the duration that a part of all durations do not exceed. It sorts them.
func percentile(all []time.Duration, part float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(float64(len(all)-1)*part)]
}

// freeAddress returns a free address. Its port is from a range that systems do not assign to connections by themselves.
func freeAddress() string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
}

// mostStreams returns the most streams that a proxy can have open at once, if it needs two files for each.
func mostStreams() int {
	const others = 500
	return int(min(mostFiles(), 1<<20)-others) / 2
}
