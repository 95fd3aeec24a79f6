package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
)

// describeMachine names the machine and the versions of the programs, because results depend on them.
func describeMachine(caddy string, chosen []*target) string {
	parts := []string{fmt.Sprintf("%d cores (%s)", runtime.NumCPU(), firstMatch("/proc/cpuinfo", `model name\s*: (.*)`)),
		"Linux " + firstMatch("/proc/sys/kernel/osrelease", `^([\d.]+)`),
		runtime.Version(),
	}
	versions := map[string][]string{
		"nginx":   {"nginx", "-v"},
		"haproxy": {"haproxy", "-v"},
		"express": {"node", "--version"},
	}
	if version, err := exec.Command(caddy, "build-info").Output(); err == nil {
		if match := regexp.MustCompile(`caddyserver/caddy/v2\s+(\S+)`).FindSubmatch(version); match != nil {
			parts = append(parts, "Caddy "+string(match[1]))
		}
	}
	for _, t := range chosen {
		command := versions[t.name]
		if command == nil {
			continue
		}
		output, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err != nil {
			continue
		}
		first, _, _ := bytes.Cut(output, []byte("\n"))
		number := regexp.MustCompile(`\d+\.[\d.]*\d`).Find(first)
		name := map[string]string{"nginx": "nginx", "haproxy": "HAProxy", "express": "Node"}[t.name]
		parts = append(parts, fmt.Sprintf("%s %s", name, number))
	}
	return strings.Join(parts, ", ")
}

// firstMatch returns the first group of an expression in a file, or nothing.
func firstMatch(file, expression string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	match := regexp.MustCompile(expression).FindSubmatch(text)
	if match == nil {
		return "unknown"
	}
	return string(match[1])
}
