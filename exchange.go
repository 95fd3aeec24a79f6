package illumichat

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
)

// exchange is one chat with the upstream, from the request to the end of the answer.
type exchange struct {
	h         *Handler
	admission *admission
	record    *record
	ctx       context.Context // of the request upstream; its cause says why the exchange ended
	cancel    context.CancelCauseFunc
	visitor   *sink
	watch     watch
	relay     *relay // of the last stream
	http3     bool   // how the visitor came
	token     secret

	leftAt  atomic.Int64 // when the visitor left, from the start; 0: not yet
	unwatch func() bool  // ends looking for that
}

// newExchange prepares to ask on behalf of the visitor, who is let in.
func (h *Handler) newExchange(w http.ResponseWriter, r *http.Request, a *admission, c *record) *exchange {
	start := c.start
	c.admitted = true
	ex := &exchange{h: h, admission: a, record: c, http3: r.ProtoMajor == 3}
	// Not a child of the config's context, which a reload cancels.
	ex.ctx, ex.cancel = context.WithCancelCause(r.Context())
	ex.visitor = newSink(w, r, start, time.Duration(h.WriteTimeout), orNever(h.Heartbeat))
	ex.watch = watch{
		start:       start,
		visitor:     ex.visitor,
		cancel:      ex.cancel,
		end:         time.Duration(h.MaxDuration),
		commitAfter: orNever(h.CommitAfter),
		idle:        time.Duration(h.IdleTimeout),
	}
	if hard := ex.visitor.hardDeadline; !hard.IsZero() {
		left := hard.Sub(start)
		ex.watch.end = min(ex.watch.end, left-min(time.Second, left/5))
	}
	ex.unwatch = context.AfterFunc(r.Context(), func() { ex.leftAt.Store(int64(ex.watch.now())) })
	openExchanges.add(ex)
	return ex
}

// close gives everything back.
func (ex *exchange) close() {
	openExchanges.remove(ex)
	ex.unwatch()
	ex.watch.stop()
	ex.cancel(nil)
	ex.visitor.close()
	ex.record.bytes = ex.visitor.bytes
	if ex.relay != nil {
		ex.relay.buffer.abandon() // if nobody could release it
		ex.relay.note(ex.record)
	}
}

// readToken reads the token that all tries share.
func (ex *exchange) readToken() error {
	var err error
	if ex.token, err = ex.h.token.get(); err != nil {
		return errTokenUnusable.because(err)
	}
	return nil
}

// conclude tells the visitor why there is no more of an answer: by an error where nothing was sent, which it
// returns, else by a finish.
func (ex *exchange) conclude(err error) error {
	ex.watch.stop()
	if err == nil {
		ex.record.outcome = outcomeAnswered
		return nil
	}
	cause := context.Cause(ex.ctx)
	if panicked, ok := errors.AsType[*timerPanic](cause); ok {
		panic(panicked.value) // here, net/http handles it as ever
	}
	if errors.Is(err, errVisitorGone) {
		return ex.gone(err)
	}
	if cause != nil {
		if reason, ok := errors.AsType[*breakOff](cause); ok {
			return ex.breakOff(reason)
		}
		return ex.gone(cause)
	}
	if reason, ok := errors.AsType[*breakOff](err); ok {
		return ex.breakOff(reason)
	}
	if refusal, ok := errors.AsType[*chatError](err); ok {
		return refusal.because(ex.loggable(refusal.cause))
	}
	return err
}

// breakOff tells the visitor of an answer that has no finish of its own.
func (ex *exchange) breakOff(reason *breakOff) error {
	cause := ex.loggable(reason.cause)
	if !ex.visitor.isCommitted() {
		return reason.before.because(cause)
	}
	ex.record.outcome, ex.record.cause, ex.record.finishReason = outcomeBroken, reason.code, "error"
	ex.h.troubles.tell(reason.level(), reason.code, "the answer broke off", reason.before.hint,
		zap.String("code", reason.code), zap.NamedError("cause", cause))
	if err := ex.visitor.finish(finishEvent(reason)); err != nil {
		return ex.gone(err)
	}
	return nil
}

// gone ends the exchange of a visitor who left or does not read.
func (ex *exchange) gone(err error) error {
	if ex.relay != nil && ex.relay.told {
		ex.record.outcome = outcomeAnswered // what would have followed does not matter
		return nil
	}
	ex.record.outcome, ex.record.cause, ex.record.finishReason = outcomeLeft, causeLeft, ""
	if errors.Is(err, os.ErrDeadlineExceeded) {
		ex.record.cause = causeStalled
	}
	if ex.ctx.Err() != nil {
		ex.record.cancelled = ex.sinceLeft()
	}
	if !ex.visitor.isCommitted() {
		return errVisitorGone
	}
	if ex.record.cause == causeStalled {
		ex.h.troubles.tell(zapcore.WarnLevel, causeStalled, "a visitor did not read the answer",
			"raise write_timeout if the connections of your visitors are that slow", zap.NamedError("cause", ex.loggable(err)))
	} else {
		ex.h.logger.Debug("the visitor left before the end of the answer", zap.NamedError("cause", ex.loggable(err)))
	}
	if ex.http3 && errors.Is(err, errVisitorGone) {
		// HTTP/1 and 2 end a connection or stream that a write failed on. HTTP/3 would end this one as if
		// the answer were complete, and a visitor who reads again would take it for that.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// sinceLeft returns how long ago the visitor left: no more than a moment, if nobody has noted the time yet.
func (ex *exchange) sinceLeft() time.Duration {
	const moment = time.Nanosecond
	if at := time.Duration(ex.leftAt.Load()); at > 0 {
		return max(ex.watch.now()-at, moment)
	}
	return moment
}

// loggable keeps the token out of the log where err quotes an upstream that sent it back.
func (ex *exchange) loggable(err error) error {
	if err != nil && ex.token.in([]byte(err.Error())) {
		return errWithheld
	}
	return err
}

// orNever is how long to wait for what may be turned off.
func orNever(d caddy.Duration) time.Duration {
	if d == off {
		return never
	}
	return time.Duration(d)
}
