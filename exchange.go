package illumichat

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
)

// exchange is one chat with the upstream, from the request to the end of the answer.
type exchange struct {
	h         *Handler
	admission *limit.Admission
	record    *telemetry.Record
	ctx       context.Context // of the request upstream; its cause says why the exchange ended
	cancel    context.CancelCauseFunc
	output    output
	watch     watchdog.Watchdog
	relay     *relay // of the last stream
	http3     bool   // the visitor came by HTTP/3
	token     secret

	leftAt  atomic.Int64 // when the visitor left, from the start; 0: not yet
	unwatch func() bool  // ends looking for that
}

// newExchange prepares to ask on behalf of a visitor, who is let in, for as long as ctx lasts. Of what is visited by HTTP/3, a
// reload has to end it.
func (h *Handler) newExchange(ctx context.Context, out output, http3 bool, a *limit.Admission, c *telemetry.Record) *exchange {
	c.Admitted = true
	ex := &exchange{h: h, admission: a, record: c, output: out, http3: http3}
	// Not a child of the config's context, which a reload cancels.
	ex.ctx, ex.cancel = context.WithCancelCause(ctx)
	end := time.Duration(h.MaxDuration)
	if deadline := out.Deadline(); !deadline.IsZero() {
		left := deadline.Sub(c.Start)
		end = min(end, left-min(time.Second, left/5))
	}
	ex.watch.Init(out, ex.cancel, watchdog.Options{
		Start:       c.Start,
		End:         end,
		CommitAfter: orNever(h.CommitAfter),
		Idle:        time.Duration(h.IdleTimeout),
	})
	ex.unwatch = context.AfterFunc(ctx, func() { ex.leftAt.Store(int64(ex.watch.Now())) })
	openExchanges.add(ex)
	return ex
}

// newVisitor returns the response to a visitor whose request began at start. Its Cache-Control may be another one than that of an
// answer to a POST.
func (h *Handler) newVisitor(w http.ResponseWriter, r *http.Request, start time.Time, cacheControl string) *visitor.Response {
	return visitor.New(w, r, visitor.Options{
		Start:        start,
		WriteTimeout: time.Duration(h.WriteTimeout),
		Heartbeat:    orNever(h.Heartbeat),
		CacheControl: cacheControl,
	})
}

// run asks, and passes the answer on. An error means that nothing was sent.
func (ex *exchange) run(body []byte) error {
	answer, err := ex.ask(body)
	if err == nil {
		err = answer.pass()
	}
	return ex.conclude(err)
}

// close gives everything back.
func (ex *exchange) close() {
	openExchanges.remove(ex)
	ex.unwatch()
	ex.watch.Stop()
	ex.cancel(nil)
	if ex.relay != nil {
		ex.relay.buffer.Abandon() // if nobody could release it
		ex.relay.note(ex.record)
	}
	ex.record.Bytes = ex.output.Close(ex.record.FinishReason, ex.record.Cause)
}

// readToken reads the token that all tries share.
func (ex *exchange) readToken() error {
	var err error
	if ex.token, err = ex.h.token.get(); err != nil {
		return errTokenUnusable.Because(err)
	}
	return nil
}

// conclude tells the visitor why there is no more of an answer: by an error where nothing was sent, which it
// returns, else by a finish.
func (ex *exchange) conclude(err error) error {
	ex.watch.Stop()
	if err == nil {
		ex.record.Outcome = telemetry.OutcomeAnswered
		return nil
	}
	cause := context.Cause(ex.ctx)
	watchdog.Rethrow(cause) // here, net/http handles it as ever
	if errors.Is(err, apierror.ErrVisitorGone) {
		return ex.gone(err)
	}
	if cause != nil {
		if reason, ok := errors.AsType[*apierror.Interruption](cause); ok {
			return ex.breakOff(reason)
		}
		return ex.gone(cause)
	}
	if reason, ok := errors.AsType[*apierror.Interruption](err); ok {
		return ex.breakOff(reason)
	}
	if refusal, ok := errors.AsType[*apierror.Error](err); ok {
		return refusal.Because(ex.loggable(refusal.Cause))
	}
	return err
}

// breakOff tells the visitor of an answer that has no finish of its own.
func (ex *exchange) breakOff(reason *apierror.Interruption) error {
	if ex.relay != nil && ex.relay.told {
		ex.record.Outcome = telemetry.OutcomeAnswered // what would have followed does not matter
		return nil
	}
	cause := ex.loggable(reason.Cause)
	if !ex.output.IsCommitted() {
		return reason.Before().Because(cause)
	}
	ex.record.Ended(reason.FinishReason(), reason.Code.String())
	ex.h.log.Report(reason.Level(), reason.Code.String(), "the answer broke off", reason.Before().Hint,
		zap.Stringer("code", reason.Code), zap.NamedError("cause", cause))
	if err := ex.output.Finish(chat.FinishEvent(reason)); err != nil {
		return ex.gone(err)
	}
	return nil
}

// gone ends the exchange of a visitor who left or does not read.
func (ex *exchange) gone(err error) error {
	if ex.relay != nil && ex.relay.told {
		ex.record.Outcome = telemetry.OutcomeAnswered // what would have followed does not matter
		return nil
	}
	ex.record.Left(err)
	if ex.ctx.Err() != nil {
		ex.record.Cancelled = ex.sinceLeft()
	}
	if !ex.output.IsCommitted() {
		return apierror.ErrVisitorGone
	}
	ex.h.tellOfLeft(ex.record, ex.loggable(err))
	if ex.http3 && errors.Is(err, apierror.ErrVisitorGone) {
		abort()
	}
	return nil
}

// tellOfLeft tells the operator of a visitor who left an answer, or did not read it.
func (h *Handler) tellOfLeft(c *telemetry.Record, err error) {
	if c.Cause == telemetry.CauseStalled {
		h.log.Report(zapcore.WarnLevel, telemetry.CauseStalled, "a visitor did not read the answer",
			"raise write_timeout if the connections of your visitors are that slow", zap.NamedError("cause", err))
	} else {
		h.logger.Debug("the visitor left before the end of the answer", zap.NamedError("cause", err))
	}
}

// abort ends an answer over HTTP/3 that a write failed on. HTTP/1 and 2 do that by themselves, HTTP/3 would end it as if it
// were complete, and a visitor who reads again would take it for that.
func abort() { panic(http.ErrAbortHandler) }

// sinceLeft returns how long ago the visitor left: no more than a moment, if nobody has noted the time yet.
func (ex *exchange) sinceLeft() time.Duration {
	const moment = time.Nanosecond
	if at := time.Duration(ex.leftAt.Load()); at > 0 {
		return max(ex.watch.Now()-at, moment)
	}
	return moment
}

// errWithheld stands for an error that the log may not have.
var errWithheld = errors.New("withheld, because it holds the API token, which the upstream sent back")

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
		return watchdog.Never
	}
	return time.Duration(d)
}
