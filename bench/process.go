package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a program that the rig has started, with its children.
type process struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	exited chan error
}

// start runs a program in a process group of its own.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.exited <- cmd.Wait() }()
	return p, nil
}

// stop ends the program and its children.
func (p *process) stop() {
	killGroup(p.cmd)
	<-p.exited
}

// listens waits until the program listens at an address.
func (p *process) listens(ctx context.Context, address string) error {
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-p.exited:
			p.exited <- err
			return fmt.Errorf("%s has exited: %w\n%s", filepath.Base(p.cmd.Path), err, &p.output)
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen: %w", filepath.Base(p.cmd.Path), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// usage is the CPU time and the memory that a process and its children use.
type usage struct {
	cpu    time.Duration // since they began
	memory int           // bytes; shared memory counts once
}

// clockTick is Linux's unit of processor time in /proc, which is the same wherever Go runs.
const clockTick = time.Second / 100

// usage reads the usage of the program's process group.
func (p *process) usage() (u usage, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return u, errors.New("the rig measures by /proc, which this system does not have")
	}
	found := false
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The name of the program is in parentheses, and may itself contain some.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if group, err := strconv.Atoi(fields[2]); err != nil || group != p.cmd.Process.Pid {
			continue
		}
		found = true
		for _, field := range fields[11:13] { // in user mode, and in the kernel
			ticks, err := strconv.Atoi(field)
			if err != nil {
				return u, fmt.Errorf("reading %s: %w", name, err)
			}
			u.cpu += time.Duration(ticks) * clockTick
		}
		memory, err := proportionalSize(filepath.Join(filepath.Dir(name), "smaps_rollup"))
		if err != nil {
			return u, err
		}
		u.memory += memory
	}
	if !found {
		return u, fmt.Errorf("%s has exited\n%s", filepath.Base(p.cmd.Path), &p.output)
	}
	return u, nil
}

// proportionalSize reads the memory of a process: its own, and its part of the shared memory.
func proportionalSize(name string) (bytes int, err error) {
	rollup, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(rollup)) {
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &bytes); err == nil {
			return bytes << 10, nil
		}
	}
	return 0, fmt.Errorf("%s has no Pss", name)
}
