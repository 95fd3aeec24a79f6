package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// A workload is what visitors do in one run.
type workload struct {
	name string
	what string

	streams int           // at once
	chats   int           // of each visitor, one after the other
	events  int           // of an answer
	burst   int           // events that the upstream writes at once
	pause   time.Duration // of the upstream, before each write
	body    int           // bytes of a request at least
	hold    bool          // answers do not end, and their memory is measured
	steady  bool          // the measurement begins when all streams have begun
	count   unit          // the CPU time is reported per unit
}

// unit is an event, a chat or a stream. Costs are reported per unit.
type unit string

const (
	perEvent  unit = "event"
	perChat   unit = "chat"
	perStream unit = "stream"
)

// eventSize is the size of an event, in bytes.
const eventSize = 100

// workloads are all workloads, in the order of the report.
var workloads = []*workload{
	{name: "short", what: "64 visitors, each 300 chats of 20 events without a pause", streams: 64, chats: 300, events: 20, burst: 1, count: perChat},
	{name: "flood", what: "16 streams, each 40 times 4,000 events without a pause", streams: 16, chats: 40, events: 4000, burst: 1, count: perEvent},
	{name: "bursts", what: "16 streams, each 15 times 16,000 events, 32 at once", streams: 16, chats: 15, events: 16_000, burst: 32, count: perEvent},
	{name: "pace", what: "400 streams, an event every 20 ms for 5 s", streams: 400, chats: 1, events: 250, burst: 1, pause: 20 * time.Millisecond, steady: true, count: perEvent},
	{name: "crowd", what: "5,000 streams, an event every 250 ms for 10 s", streams: 5000, chats: 1, events: 40, burst: 1, pause: 250 * time.Millisecond, steady: true, count: perEvent},
	{name: "idle", what: "10,000 streams that have started and are silent", streams: 10_000, chats: 1, events: 1, burst: 1, hold: true, count: perStream},
}

// chat is the body that visitors post.
func (w *workload) chat() []byte {
	content, err := json.Marshal(plan{w.events, w.burst, eventSize, w.pause, w.hold})
	if err != nil {
		panic(err) // a plan can always be marshalled
	}
	last := fmt.Sprintf(`{"role":"user","content":%q}`, content)
	const earlier = `{"role":"assistant","content":"What was said before, at a length that is usual: a sentence or two."},`
	messages := strings.Repeat(earlier, max(0, w.body-len(last))/len(earlier)) + last
	return fmt.Appendf(nil, `{"assistantId":%q,"messages":[%s]}`, assistant, messages)
}
