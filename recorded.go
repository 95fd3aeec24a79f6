package illumichat

import (
	"cmp"
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/cause"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
)

// slowWrite is how long a write to the visitor who asked may take. After a longer one, the recording no longer waits for
// the visitor. A write that blocks is noticed within some seconds, or as soon as another visitor listens.
const slowWrite = 20 * time.Millisecond

// recordedRun is the run of an exchange whose answer is recorded. It has two tasks: to relay the upstream's answer into
// the recording, and to send that to the visitor who asked.
//
// As long as the visitor keeps pace, the handler's goroutine does both in turn. To hand each event over to another
// goroutine would add a third to what an event costs. The tasks part, and get a goroutine each, as soon as one of them
// would have to wait for the other: when the visitor leaves or reads slowly, when another visitor listens too, and when
// the response headers are due before the first event. They stay apart.
//
// If the tasks part while the handler's goroutine waits for the upstream, the handler returns when the upstream sends
// something, or falls silent for too long. The visitor has got everything by then, and holds no slot any more.
type recordedRun struct {
	question question
	response *listening

	ex       *exchange
	rec      recording.Recorder
	follower recording.Follower
	asked    bool // the exchange has begun; only the goroutine that relays uses it
	left     bool // leave was called; only the goroutine that sends uses it, and then the handler's

	over   chan struct{}   // is closed when the exchange is over
	failed error           // why there is no answer; nil: there is one, or the exchange is not over
	sent   chan sendResult // has the result of sending, if another goroutine than the handler's sends

	mu      sync.Mutex
	sending bool // the handler's goroutine sends at the moment; else it relays
	apart   bool // each task has a goroutine
	company bool // another visitor listens, or this one is slow: the tasks part before the next write
}

// sendResult is how sending to the visitor ended.
type sendResult struct {
	ended bool  // the visitor got all of the answer
	err   error // an error means that nothing was sent
	panic error // a *watchdog.Panic of a writer around the handler
}

func newRecordedRun(q question, response *listening) *recordedRun {
	return &recordedRun{
		question: q, response: response,
		over: make(chan struct{}),
	}
}

// leave ends the response, and releases what the visitor who asked holds. Further calls do nothing.
func (run *recordedRun) leave() {
	if run.left {
		return
	}
	run.left = true
	run.response.close()
	run.question.first.Close()
	run.question.admission.LeaveStream()
}

// serve runs the exchange and sends its answer to the visitor. ended reports whether the visitor got all of it. An error
// means that nothing was sent. The exchange goes on if the visitor leaves.
func (run *recordedRun) serve(ex *exchange) (ended bool, err error) {
	run.ex = ex
	// A reload ends an HTTP/3 connection, so it must end the response, whatever the upstream does at the moment.
	together := !run.response.http3
	run.sending = !together
	run.response.slow = run.makeWay
	run.response.start(&run.follower, run.question.first)
	defer run.follower.Stop()
	run.question.source.OnListener(run.makeWay)
	stop := context.AfterFunc(run.response.ctx, run.part)
	defer stop()
	defer run.relayElsewhere() // if a writer around the handler panics
	for together {
		over := run.relay()
		switch {
		case !run.beginSending():
			return run.awaitSent(over)
		case over:
			stop()                     // there is nothing left to part
			run.follower.EndFlushing() // net/http flushes when the handler returns, which saves a short chat a write
			return run.send()
		}
		if err := run.sendHeld(); err != nil {
			return run.concludeSending(err) // serve gives relaying to another goroutine
		}
		together = run.beginRelaying()
	}
	run.relayElsewhere()
	return run.send()
}

// beginSending notes that the handler's goroutine sends from now on. It returns false if another goroutine does.
func (run *recordedRun) beginSending() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.sending = !run.apart
	if run.sending && run.company {
		run.relayApart() // so that no write holds up the recording
		return true
	}
	return run.sending
}

// sendHeld sends what the visitor does not have yet.
func (run *recordedRun) sendHeld() error {
	began := time.Now()
	err := run.follower.SendHeld()
	if time.Since(began) > slowWrite || !run.follower.HasBegun() {
		run.makeWay()
	}
	if err == io.EOF {
		return nil // the exchange is not over yet
	}
	return err
}

// beginRelaying notes that the handler's goroutine relays from now on. It returns false if another goroutine has to.
func (run *recordedRun) beginRelaying() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.sending = run.apart || run.company
	return !run.sending
}

// makeWay parts the tasks before the next write, or during the one in progress: this visitor must not hold up the
// recording, because another one listens, or because this one is slow.
func (run *recordedRun) makeWay() {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.company = true
	run.relayApart()
}

// part parts the tasks at once. The one that the handler's goroutine does not do at the moment gets a goroutine.
func (run *recordedRun) part() {
	run.mu.Lock()
	defer run.mu.Unlock()
	if !run.apart && !run.sending {
		run.apart = true
		run.sent = make(chan sendResult, 1)
		go run.sendRest()
	}
	run.relayApart()
}

// relayElsewhere gives relaying to a goroutine of its own, if the handler's goroutine sends.
func (run *recordedRun) relayElsewhere() {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.relayApart()
}

// relayApart is relayElsewhere for a caller that holds the lock.
func (run *recordedRun) relayApart() {
	if run.sending && !run.apart && !run.isOver() {
		run.apart = true
		go run.relayRest()
	}
}

// isOver reports whether the exchange is over.
func (run *recordedRun) isOver() bool {
	select {
	case <-run.over:
		return true
	default:
		return false
	}
}

// send sends the rest of the answer. It waits for the upstream.
func (run *recordedRun) send() (ended bool, err error) {
	return run.concludeSending(run.follower.Follow())
}

// concludeSending ends the response. err says why no more is sent; nil means that the answer is over. If the visitor has
// not got the answer's id, no visitor can come back, and the exchange is canceled.
func (run *recordedRun) concludeSending(err error) (ended bool, _ error) {
	run.follower.Stop()
	defer run.leave() // the handler's goroutine may still have to wait for the upstream
	ended, err = run.response.conclude(run.question.first, err)
	if !run.question.chosen && !run.response.IsCommitted() && !run.response.hasFailed {
		run.ex.Cancel(cmp.Or(run.response.reason(), apierror.Abandoned))
	}
	return ended, err
}

// sendRest sends the rest of the answer, in a goroutine of its own.
func (run *recordedRun) sendRest() {
	var result sendResult
	defer func() {
		if p := recover(); p != nil {
			result = sendResult{panic: &watchdog.Panic{Value: p}}
			run.follower.Stop()
			run.leave()
		}
		run.sent <- result
	}()
	result.ended, result.err = run.send()
}

// awaitSent relays until the exchange is over, or until nothing more can be sent to the visitor. Then the exchange goes on
// in a goroutine of its own. over says whether the exchange is over already.
func (run *recordedRun) awaitSent(over bool) (ended bool, err error) {
	for {
		if over {
			return run.takeSent(<-run.sent)
		}
		select {
		case result := <-run.sent:
			go run.relayRest()
			return run.takeSent(result)
		default:
			over = run.relay()
		}
	}
}

// takeSent returns a result, or panics if sending has panicked.
func (run *recordedRun) takeSent(result sendResult) (ended bool, err error) {
	watchdog.Rethrow(result.panic)
	return result.ended, result.err
}

// relayRest relays until the exchange is over.
func (run *recordedRun) relayRest() {
	for !run.relay() {
	}
}

// relay asks the upstream and relays its answer up to the first event, or relays what comes next. It reports whether the
// exchange is over. Only one goroutine at a time calls it.
func (run *recordedRun) relay() (over bool) {
	defer func() {
		if p := recover(); p != nil {
			over = true
			run.panicked(&watchdog.Panic{Value: p, Stack: debug.Stack()})
		}
		if over {
			run.end()
		}
	}()
	var err error
	if !run.asked {
		run.asked = true
		err = run.ex.ask(run.question.asked.Body)
	} else {
		run.ex.answer.relayNext()
	}
	if err == nil && !run.ex.answer.isRelayed() {
		return false
	}
	run.conclude(err)
	return true
}

// conclude ends the recording. If there is no answer, all visitors who wait for it get the error.
func (run *recordedRun) conclude(err error) {
	if err == nil {
		err = run.ex.answer.endRelay()
	}
	if run.failed = run.ex.conclude(err); run.failed != nil {
		failure, _ := errors.AsType[*apierror.Error](run.failed)
		run.rec.Fail(failure)
	}
	if errors.Is(context.Cause(run.ex.ctx), apierror.Abandoned) {
		telemetry.Abandoned()
	}
}

// panicked ends the recording after a panic. If the visitor who asked still waits for the answer, the panic goes on in the
// handler's goroutine, and net/http logs it.
func (run *recordedRun) panicked(p *watchdog.Panic) {
	run.failed = p
	run.ex.watch.Stop() // so that it does not open the stream now
	if !run.ex.output.IsCommitted() {
		return
	}
	run.ex.logPanic(p)
	if relay := run.ex.relay; relay != nil && relay.finishSent {
		return
	}
	run.ex.record.Ended(apierror.Closed.FinishReason(), apierror.Closed.Code.String())
	_ = run.ex.output.Finish(chat.FinishEvent(apierror.Closed))
}

// end closes the exchange and releases what it holds.
func (run *recordedRun) end() {
	defer close(run.over)
	defer run.ex.admission.Leave()
	defer run.ex.record.EndSpan()
	run.ex.close()
}

// logFailure waits for the end of the exchange, and logs why there is no answer: the visitor who asked has left, so nobody
// else would.
func (run *recordedRun) logFailure() {
	<-run.over
	if errors.Is(context.Cause(run.ex.ctx), apierror.Abandoned) {
		return // no visitor came back, which is nobody's fault
	}
	if failure, ok := errors.AsType[*apierror.Error](run.failed); ok {
		logError(run.ex.log, run.ex.record, failure)
	} else if p, ok := errors.AsType[*watchdog.Panic](run.failed); ok {
		run.ex.logPanic(p)
	}
}

// logPanic logs a panic that no visitor's request carries on.
func (ex *exchange) logPanic(p *watchdog.Panic) {
	ex.log.Logger().Error("panic while an answer was recorded", ex.record.AssistantField(),
		zap.String("panic", cause.OfPanic(p.Value)), zap.ByteString("stack", p.Stack))
}
