package main

import (
	"fmt"
	"time"
)

// growth is how a cost grows with something.
type growth struct {
	name        string // of the graph's file
	title       string
	x, y        string // labels of the axes
	logarithmic bool   // the x axis
	points      []int  // values of x that are measured
	work        func(x int) *workload
	cost        func(*result) float64
}

// growths are drawn as graphs.
var growths = []*growth{
	{
		name: "cpu-by-streams", title: "CPU per event, by number of streams",
		x: "streams at once (4,000 events a second in all)", y: "CPU µs per event",
		points: []int{1, 10, 100, 1000, 9000}, logarithmic: true,
		work: func(x int) *workload {
			const perSecond, seconds = 4000, 10
			return &workload{
				name: fmt.Sprintf("%d streams", x), streams: x, chats: 1, events: 2 + perSecond*seconds/x, burst: 1,
				pause: time.Second * time.Duration(x) / perSecond, steady: true, count: perEvent,
			}
		},
		cost: func(res *result) float64 { return microseconds(res.cpu) },
	},
	{
		name: "memory-by-streams", title: "Memory per stream, by number of streams",
		x: "silent streams", y: "KiB per stream",
		points: []int{100, 300, 1000, 3000, 9000}, logarithmic: true,
		work: func(x int) *workload {
			return &workload{name: fmt.Sprintf("%d silent streams", x), streams: x, chats: 1, events: 1, burst: 1, hold: true, count: perStream}
		},
		cost: func(res *result) float64 { return float64(res.memory) / 1024 },
	},
	{
		name: "cpu-by-body", title: "CPU per chat, by size of the body",
		x: "KiB of the request's body, in messages of 100 bytes", y: "CPU µs per chat",
		points: []int{1, 128, 256, 512, 1000},
		work: func(x int) *workload {
			return &workload{name: fmt.Sprintf("bodies of %d KiB", x), streams: 8, chats: 100, events: 1, burst: 1, body: x << 10, count: perChat}
		},
		cost: func(res *result) float64 { return microseconds(res.cpu) },
	},
}
