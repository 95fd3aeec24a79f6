package site

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

const (
	disconnectPatience = 10 * time.Second       // how long the upstream request may live on
	pollInterval       = 100 * time.Millisecond // between two requests to the admin API, each of which Caddy logs
	settleTime         = 200 * time.Millisecond
	shortAnswer        = 800 * time.Millisecond // a shorter one may end before its visitor disconnects
)

// checkDisconnect reports whether the upstream request ends when the visitor disconnects. t is an earlier answer, whose
// duration tells an end by disconnect from one by itself.
func (c *checker) checkDisconnect(ctx context.Context, t *transcript) {
	switch {
	case c.admin == nil:
		c.skip(checkDisconnect, "whether an answer ends when the visitor disconnects can only be seen at Caddy", "Write --admin with the address of Caddy's admin API, such as localhost:2019.")
		return
	case t.header.Get(streamHeader) != "":
		c.add(doctor.Finding{
			Level: doctor.Note, Check: checkDisconnect, Found: "with resume, an answer continues for a while after its visitor has disconnected, so that the visitor can come back",
			Why: "Your quota pays for it until `grace` is over, or until the page stops it.",
		})
		return
	case t.duration() < shortAnswer:
		c.skip(checkDisconnect, "the answer is too short to be cut", "Ask for a longer answer with --question.")
		return
	}
	c.report.Progress("disconnecting in the middle of an answer")
	before, err := c.settled(ctx)
	if err != nil {
		c.skip(checkDisconnect, "the admin API cannot be used: "+err.Error(), "Write --admin with the address of the Caddy that has the chat, such as localhost:2019.")
		return
	}
	f := c.disconnect(ctx, before, t)
	f.Check = checkDisconnect
	c.add(f)
}

// cutChat is a chat whose visitor disconnects.
type cutChat struct {
	disconnect func()
	refused    string // why there is no answer; "": there is one, or its visitor has disconnected before
	over       <-chan struct{}
}

// startChat sends a chat and returns at once. If the chat is refused, it calls refused.
func (c *checker) startChat(ctx context.Context, refused func()) *cutChat {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	chat := &cutChat{disconnect: cancel, over: over}
	go func() {
		defer close(over)
		s, a, err := c.open(ctx, c.chat())
		switch {
		case s != nil:
			defer s.close()
			<-ctx.Done()
		case err == nil:
			chat.refused = a.describe()
			refused()
		case ctx.Err() == nil:
			chat.refused = "no answer: " + err.Error()
			refused()
		}
	}()
	return chat
}

// disconnect sends a chat and disconnects as soon as it is open, at Caddy. The visitor may not have got anything yet: a proxy
// may hold the answer back.
func (c *checker) disconnect(ctx context.Context, before []int, t *transcript) doctor.Finding {
	waiting, refused := context.WithCancel(ctx)
	defer refused()
	begun := time.Now()
	chat := c.startChat(ctx, refused)
	during, ok := c.await(waiting, func(now []int) bool { return grown(before, now) >= 0 })
	chat.disconnect()
	disconnected := time.Now()
	<-chat.over
	switch {
	case chat.refused != "":
		return doctor.Finding{Level: doctor.Skipped, Found: "the chat gets " + chat.refused, Do: "Check again later."}
	case !ok:
		return doctor.Finding{
			Level: doctor.Skipped, Found: "the chat does not show in the admin API", Do: "Write --admin with the address of the Caddy that has the chat.",
		}
	}
	handler := grown(before, during)
	_, ok = c.await(ctx, func(now []int) bool { return len(now) != len(during) || now[handler] < during[handler] })
	took := time.Since(disconnected)
	rest := t.duration() - disconnected.Sub(begun) // of the answer, if nothing ends it early
	if ok && took < rest/2 {
		return doctor.Finding{Level: doctor.OK, Found: fmt.Sprintf("the upstream request ends %s after the visitor has disconnected", seconds(took))}
	}
	return c.goesOn(took, ok, slices.Max(before) > 0)
}

// goesOn returns the finding that the upstream request goes on although the visitor has disconnected.
func (c *checker) goesOn(took time.Duration, ended, crowded bool) doctor.Finding {
	f := doctor.Finding{
		Level: doctor.Wrong, Found: fmt.Sprintf("the upstream request goes on for %s after the visitor has disconnected", seconds(took)),
		Why: "You pay for answers that nobody reads, and each one occupies a place in max_streams.",
		Do: settings(c.proxies(), func(p product) string { return p.notice },
			"Find out which proxy keeps its connection to Caddy open when a visitor disconnects, and let it close that."),
	}
	if !ended {
		f.Found = fmt.Sprintf("the upstream request goes on for more than %s after the visitor has disconnected", disconnectPatience)
	}
	if crowded {
		f.Level = doctor.Warning
		f.Found += ", unless another visitor's chat has hidden its end"
	}
	return f
}

// grown returns the first handler with more open chats than before, or -1 if there is none.
func grown(before, now []int) int {
	if len(before) != len(now) {
		return -1
	}
	for i := range now {
		if now[i] > before[i] {
			return i
		}
	}
	return -1
}

// await asks the admin API for the numbers of open chats until they satisfy a condition, for at most disconnectPatience.
func (c *checker) await(ctx context.Context, condition func([]int) bool) (open []int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, disconnectPatience)
	defer cancel()
	for {
		now, err := c.admin.open(ctx)
		if err == nil && condition(now) {
			return now, true
		}
		select {
		case <-ctx.Done():
			return nil, false
		case <-time.After(pollInterval):
		}
	}
}

// settled returns how many chats are open once that number has not changed for a while. Chats that this check has cut may
// still be ending.
func (c *checker) settled(ctx context.Context) ([]int, error) {
	last, err := c.admin.open(ctx)
	since := time.Now()
	if err != nil {
		return nil, err
	}
	_, _ = c.await(ctx, func(now []int) bool {
		if !slices.Equal(now, last) {
			last, since = now, time.Now()
		}
		return time.Since(since) >= settleTime
	})
	return last, nil
}
