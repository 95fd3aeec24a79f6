package illumichat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/shutdown"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// listening is the response to a visitor who listens to a recorded answer, or waits for one. It is an open stream of
// the process: a shutdown and the time limits of an exchange end it. It writes its own finish if the recorded one has
// not come by then.
type listening struct {
	*visitor.Response
	exchanges *exchanges
	record    *telemetry.Record
	http3     bool

	ctx       context.Context // ends when the visitor leaves, or with the reason why the stream must end
	cancel    context.CancelCauseFunc
	end       time.Duration // when the stream must end, from the request's start
	begun     func()        // is called when the visitor can get the response headers; nil: nothing is to be done then
	slow      func()        // is called when a write takes longer than slowWrite; nil: nothing is to be done then
	finish    chat.FinishFinder
	after     int64  // the number of the last event that the visitor had before; 0: none
	hasBegun  bool   // the response headers are known
	hasFailed bool   // the exchange failed before the stream began
	isJSON    bool   // the answer is JSON, and no stream
	json      []byte // that answer, as much as was read
}

// listen returns the response to a visitor who listens. cacheControl is as for response. The caller must call close.
func (es *exchanges) listen(w http.ResponseWriter, r *http.Request, c *telemetry.Record, cacheControl string) *listening {
	l := &listening{
		Response:  es.response(w, r, c.Start, cacheControl),
		exchanges: es, record: c, http3: r.ProtoMajor == 3,
	}
	l.ctx, l.cancel = context.WithCancelCause(r.Context())
	l.end = es.end(c.Start, l.Deadline())
	shutdown.Add(l, shutdown.Listener)
	return l
}

// close ends the response, and records what the visitor was sent.
func (l *listening) close() {
	shutdown.Remove(l)
	l.cancel(nil)
	l.finish.Release()
	l.record.Bytes = l.Close("", "")
}

// Cancel ends the stream. cause says why.
func (l *listening) Cancel(cause error) { l.cancel(cause) }

// maxLag is how much longer the visitor who asked may listen than the exchange lasts.
const maxLag = 100 * time.Millisecond

// lag makes the stream end a moment after the exchange of the same request. So the visitor gets the finish that the
// exchange records.
func (l *listening) lag() {
	lag := maxLag
	if deadline := l.Deadline(); !deadline.IsZero() {
		lag = min(lag, (deadline.Sub(l.record.Start)-l.end)/2)
	}
	l.end += lag
}

// reason returns why the stream must end, or nil if the visitor has left or nothing ends the stream.
func (l *listening) reason() *apierror.Interruption {
	return interruptionOf(context.Cause(l.ctx))
}

// Begin notes the response headers of the answer.
func (l *listening) Begin(head http.Header) {
	contentType := head.Get("Content-Type")
	l.hasBegun, l.isJSON = true, contentType == typeJSON
	l.Prepare(head, contentType)
	if l.begun != nil {
		l.begun()
	}
}

// Commit sends the response headers. Those of a JSON answer are sent with the answer, because it may still be lost.
func (l *listening) Commit() error {
	if l.isJSON {
		return nil
	}
	return l.Response.Commit()
}

// EndStalled ends a write that takes too long, as [visitor.Response.EndStalled] does, and notes one that is slow.
func (l *listening) EndStalled(now time.Duration) (next time.Duration) {
	if l.slow != nil && l.Writing(now) > slowWrite {
		l.slow()
	}
	return l.Response.EndStalled(now)
}

// WriteEvents sends p, as [visitor.Response.WriteEvents] does, and notes whether it holds the finish. It keeps p if the
// answer is JSON.
func (l *listening) WriteEvents(p []byte, whole, flush bool) error {
	if l.isJSON {
		l.json = append(l.json, p...)
		return nil
	}
	if err := l.Response.WriteEvents(p, whole, flush); err != nil {
		return err
	}
	l.finish.Note(p, whole)
	return nil
}

// follow sends a stream to the visitor, until it ends, the visitor leaves, or the visitor's stream must end. It waits for
// the stream to begin. An error means that nothing was sent.
func (l *listening) follow(listener store.Listener) error {
	var follower recording.Follower
	l.start(&follower, listener)
	defer follower.Stop()
	_, err := l.conclude(listener, follower.Follow())
	return err
}

// start starts a Follower of a stream.
func (l *listening) start(f *recording.Follower, listener store.Listener) {
	c := l.record
	f.Init(l.ctx, recording.Time{Start: c.Start, End: l.end, Cancel: l.cancel}, l, listener,
		recording.Progress{Events: &c.Events, FirstEvent: &c.FirstEvent})
}

// conclude ends the response. err says why no more of the stream is sent; nil means that it is over. ended reports whether
// the visitor got all of it. An error means that nothing was sent.
func (l *listening) conclude(listener store.Listener, err error) (ended bool, _ error) {
	watchdog.Rethrow(err)
	var failed *store.Failed
	failed, l.hasFailed = errors.AsType[*store.Failed](err)
	switch reason := interruptionOf(err); {
	case l.hasFailed:
		return false, apierror.Decode(failed.Reason)
	case err == nil && l.isJSON:
		return true, l.writeJSON()
	case err == nil && !l.HasSent():
		return true, l.finishAgain(listener.End())
	case err == nil, l.finish.Found():
		return l.noteEnd(listener), nil
	case errors.Is(err, store.ErrLost):
		return false, l.finishLost(err)
	case reason != nil:
		return false, l.interrupt(reason)
	}
	return false, l.leave(err)
}

// writeJSON sends an answer that is JSON.
func (l *listening) writeJSON() error {
	l.record.Events, l.record.FirstEvent = 0, 0 // the store counts the answer as an event, but it is none
	if err := l.WriteAll(l.json); err != nil {
		return l.leave(err)
	}
	l.record.Outcome = telemetry.OutcomeAnswered
	return nil
}

// finishAgain sends a finish to a visitor for whom nothing was left of a stream that has ended meanwhile. Such a visitor
// has named an event that there never was, or has the finish already.
func (l *listening) finishAgain(end store.End) error {
	l.record.Ended(end.Reason, end.Cause)
	return l.writeFinish(chat.FinishAgain(end.Reason))
}

// noteEnd records the finish that the visitor got. ended reports whether nothing follows it.
func (l *listening) noteEnd(listener store.Listener) (ended bool) {
	if _, err := listener.Read(); err == io.EOF {
		end := listener.End()
		l.record.Ended(end.Reason, end.Cause)
		return true
	}
	l.record.Ended(l.finish.Reason(), "")
	return false
}

// interrupt sends the visitor a finish with the reason why the stream must end. If nothing was sent yet, it returns the
// reason as an error instead.
func (l *listening) interrupt(reason *apierror.Interruption) error {
	if !l.IsCommitted() {
		return reason.Before()
	}
	l.record.Ended(reason.FinishReason(), reason.Code.String())
	l.exchanges.logInterruption(l.record, reason, "") // the answer may go on for others
	return l.writeFinish(chat.FinishEvent(reason))
}

// finishLost ends the response with a finish of our own, after the store lost the rest of the answer. If the visitor has
// nothing of the answer yet, it returns an error instead. A visitor can have events of an answer whose instance died before
// the store had any: to that visitor, the answer is a stream that breaks off.
func (l *listening) finishLost(err error) error {
	if !l.hasBegun && l.after > 0 {
		l.Begin(http.Header{"Content-Type": {sse.MediaType}})
	}
	hint := "check whether the instance that wrote it has ended, or the store was emptied"
	if errors.Is(err, store.ErrBehind) {
		hint = "raise max_size if your visitors' connections are slow and answers are that long"
	}
	if !l.canCommit() {
		lost := *apierror.Lost.Before()
		lost.Hint = hint
		return lost.Because(err)
	}
	l.record.Ended(apierror.Lost.FinishReason(), apierror.Lost.Code.String())
	l.exchanges.log.ReportChat(l.record, telemetry.Problem{
		Level:   apierror.Lost.Level(),
		Kind:    apierror.Lost.Code.String(),
		Message: "the rest of an answer is lost",
		Hint:    hint,
	}, zap.NamedError("cause", err))
	return l.writeFinish(chat.FinishEvent(apierror.Lost))
}

// canCommit reports whether the visitor can get response headers of the answer.
func (l *listening) canCommit() bool { return l.hasBegun && !l.isJSON }

// writeFinish ends the response with a finish of our own, after the response headers if they are not sent yet.
func (l *listening) writeFinish(finish []byte) error {
	if err := l.Commit(); err != nil {
		return l.leave(err)
	}
	if err := l.Finish(finish); err != nil {
		return l.leave(err)
	}
	return nil
}

// leave ends the response to a visitor who left or stopped reading. It returns an error if nothing was sent.
func (l *listening) leave(err error) error {
	return l.exchanges.visitorLeft(l.record, departure{output: l, http3: l.http3, due: l.reason(), err: err})
}
