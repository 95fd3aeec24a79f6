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

	ctx    context.Context // ends when the visitor leaves, or with the reason why the stream must end
	cancel context.CancelCauseFunc
	end    time.Duration // when the stream must end, from the request's start
	finish chat.FinishFinder
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

// WriteEvents sends p, as [visitor.Response.WriteEvents] does, and notes whether it holds the finish.
func (l *listening) WriteEvents(p []byte, whole, flush bool) error {
	if err := l.Response.WriteEvents(p, whole, flush); err != nil {
		return err
	}
	l.finish.Note(p, whole)
	return nil
}

// follow sends a stream to the visitor, until it ends, the visitor leaves, or the visitor's stream must end. ended
// reports whether the visitor got all of the stream. An error means that nothing was sent.
func (l *listening) follow(head http.Header, listener store.Listener) (ended bool, err error) {
	l.Prepare(head, sse.MediaType)
	c := l.record
	err = recording.Follow(l.ctx, recording.Time{Start: c.Start, End: l.end, Cancel: l.cancel}, l, listener,
		recording.Progress{Events: &c.Events, FirstEvent: &c.FirstEvent})
	watchdog.Rethrow(err)
	switch reason := interruptionOf(err); {
	case err == nil, l.finish.Found():
		return l.noteEnd(listener), nil
	case errors.Is(err, store.ErrLost):
		return false, l.finishLost(err)
	case reason != nil:
		return false, l.interrupt(reason)
	}
	return false, l.leave(err)
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
	return l.writeFinish(reason)
}

// finishLost ends the response with a finish of our own, after the store lost the rest of the answer.
func (l *listening) finishLost(err error) error {
	l.record.Ended(apierror.Lost.FinishReason(), apierror.Lost.Code.String())
	l.exchanges.log.ReportChat(l.record, telemetry.Problem{
		Level:   apierror.Lost.Level(),
		Kind:    apierror.Lost.Code.String(),
		Message: "the rest of an answer is lost",
		Hint:    "see whether the instance that wrote it has ended, or the store was emptied",
	}, zap.NamedError("cause", err))
	if err := l.Commit(); err != nil {
		return l.leave(err)
	}
	return l.writeFinish(apierror.Lost)
}

func (l *listening) writeFinish(reason *apierror.Interruption) error {
	if err := l.Finish(chat.FinishEvent(reason)); err != nil {
		return l.leave(err)
	}
	return nil
}

// leave ends the response to a visitor who left or stopped reading. It returns an error if nothing was sent.
func (l *listening) leave(err error) error {
	return l.exchanges.visitorLeft(l.record, departure{output: l, http3: l.http3, due: l.reason(), err: err})
}
