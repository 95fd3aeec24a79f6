package sandbox_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNumberedEvents(t *testing.T) {
	for message, want := range map[string]string{
		"/events 0": "",
		"/events 3": "event 1\nevent 2\nevent 3\n",
	} {
		events := ask(t, message).events(t)
		if got := prose(events); got != want {
			t.Errorf("%s: got %q", message, got)
		}
		if last := events[len(events)-1]; last["type"] != "finish" || last["finishReason"] != "stop" {
			t.Errorf("%s: the last event is %v", message, last)
		}
	}
}

func TestLarge(t *testing.T) {
	events := ask(t, "/large 100001").events(t)
	if got := len(prose(events)); len(events) != 2 || got != 100_001 {
		t.Errorf("got %d events with %d bytes of text", len(events), got)
	}
}

func TestFinishReasons(t *testing.T) {
	for message, want := range map[string]string{"/length": "length", "/error": "error"} {
		events := ask(t, message).events(t)
		if last := events[len(events)-1]; last["type"] != "finish" || last["finishReason"] != want {
			t.Errorf("%s: the last event is %v", message, last)
		}
	}
}

// count tells how many events there are, and how many of them are a finish.
func count(events []fields) (all, finishes int) {
	for _, e := range events {
		if e["type"] == "finish" {
			finishes++
		}
	}
	return len(events), finishes
}

func TestTwoFinishes(t *testing.T) {
	events := ask(t, "/two-finishes").events(t)
	if _, finishes := count(events[len(events)-2:]); finishes != 2 {
		t.Errorf("the last events are %v", events[len(events)-2:])
	}
}

func TestTalkOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := ask(t, "/talk-on 2s")
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("the answer took %v", took)
		}
		events := w.events(t)
		if all, finishes := count(events); finishes != 1 || events[all-1]["type"] != "text-delta" {
			t.Errorf("got %d finishes, and in the end %v", finishes, events[all-1])
		}
	})
}

func TestQuoteFinish(t *testing.T) {
	w := ask(t, "/quote-finish")
	if all, finishes := count(w.events(t)); all != 3 || finishes != 0 {
		t.Errorf("got %d events, %d of them a finish", all, finishes)
	}
	if !strings.Contains(w.body(), `"type":"finish"`) || !strings.Contains(w.body(), `{\"type\":\"finish\"`) {
		t.Errorf("nothing is quoted in %s", w.body())
	}
}

func TestStrangeEvents(t *testing.T) {
	for message, first := range map[string]string{
		"/bad-json":   "data: {\"type\":\"text-delta\",\n\n",
		"/multi-data": "data: {\"type\":\"text-delta\",\ndata: \"textDelta\":\ndata: \"This event has three lines. \"}\n\n",
		"/extras": "data: {\"type\":\"mood\",\"mood\":\"cheerful\"}\n\n" +
			"data: {\"type\":\"text-delta\",\"textDelta\":\"This event has a language. \",\"language\":\"en\"}\n\n" +
			"event: message\nid: 42\nretry: 3000\ndata: {\"type\":\"text-delta\",\"textDelta\":\"This one has an id. \"}\n\n",
	} {
		rest, ok := strings.CutPrefix(ask(t, message).body(), first)
		if !ok {
			t.Errorf("%s: got %q", message, rest)
			continue
		}
		events := decodeEvents(t, rest)
		if last := events[len(events)-1]; last["type"] != "finish" {
			t.Errorf("%s: the last event is %v", message, last)
		}
	}
}
