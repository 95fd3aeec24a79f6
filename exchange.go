package illumichat

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/cause"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/shutdown"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
)

// typeJSON is the media type of JSON.
const typeJSON = "application/json"

var errTokenUnusable = &apierror.Error{
	Status: http.StatusBadGateway, Code: apierror.CodeUnauthorizedUpstream,
	Text: "the chat is not set up correctly",
	Hint: "the token's file cannot be used; write the API token into the file again; no reload is needed",
}

// tokenUnusable marks the errors of a token that cannot be read.
type tokenUnusable struct{ error }

// exchanges holds the services and settings that all exchanges of one handler share.
type exchanges struct {
	client   *upstream.Client
	endpoint *upstream.Endpoint
	token    upstream.TokenSource
	retry    *Retry
	log      *telemetry.Log

	responseTimeout time.Duration
	commitAfter     time.Duration // or watchdog.Never
	idleTimeout     time.Duration
	writeTimeout    time.Duration
	maxDuration     time.Duration
	heartbeat       time.Duration // or watchdog.Never
	propagateTrace  bool
}

// exchange is one chat with the upstream, from the request to the end of the answer.
type exchange struct {
	*exchanges
	admission *limit.Admission
	record    *telemetry.Record
	ctx       context.Context // of the upstream request; its cause says why the exchange ended
	cancel    context.CancelCauseFunc
	output    output
	watch     watchdog.Watchdog
	relay     *relay // of the last attempt that was answered by a stream; nil: none was
	http3     bool   // the output is a visitor's HTTP/3 response
	secret    upstream.Token

	body   []byte  // of the upstream request; nil once there is an answer
	key    string  // the Idempotency-Key, which all attempts share
	answer *answer // of the last attempt; nil: it had none for the visitor

	leftAt  atomic.Int64 // when the visitor left, from the start; 0: not yet
	unwatch func() bool  // stops the function that sets leftAt
}

// open prepares an exchange for an admitted request. The exchange lasts no longer than ctx, and the caller must close
// it. http3 says that out is a visitor's HTTP/3 response. Caddy closes HTTP/3 connections on reload, so such an
// exchange must send its finish first.
func (es *exchanges) open(ctx context.Context, out output, http3 bool, a *limit.Admission, c *telemetry.Record) *exchange {
	c.Admitted = true
	ex := &exchange{exchanges: es, admission: a, record: c, output: out, http3: http3}
	// Not a child of the config's context, which a reload cancels.
	ex.ctx, ex.cancel = context.WithCancelCause(ctx)
	ex.watch.Init(out, ex.cancel, watchdog.Options{
		Start:       c.Start,
		End:         es.end(c.Start, out.Deadline()),
		CommitAfter: es.commitAfter,
		Idle:        es.idleTimeout,
	})
	ex.unwatch = noUnwatch
	if ctx.Done() != nil {
		ex.unwatch = context.AfterFunc(ctx, func() { ex.leftAt.Store(int64(ex.watch.Now())) })
	}
	shutdown.Add(ex, shutdown.Exchange)
	return ex
}

// noUnwatch is the unwatch of an exchange whose visitor cannot end it.
func noUnwatch() bool { return false }

// end returns when the stream to a visitor must end, from the start of the visitor's request. deadline is when the
// server ends it; zero: never. The stream ends 1 s earlier, so that a finish fits in. It ends a fifth of the time
// earlier if that is less.
func (es *exchanges) end(start, deadline time.Time) time.Duration {
	if deadline.IsZero() {
		return es.maxDuration
	}
	left := deadline.Sub(start)
	return min(es.maxDuration, left-min(time.Second, left/5))
}

// response returns the response to a visitor whose request began at start. cacheControl is its Cache-Control; "" means
// that of an answer to a POST.
func (es *exchanges) response(w http.ResponseWriter, r *http.Request, start time.Time, cacheControl string) *visitor.Response {
	return visitor.New(w, r, visitor.Options{
		Start:        start,
		WriteTimeout: es.writeTimeout,
		Heartbeat:    es.heartbeat,
		CacheControl: cacheControl,
	})
}

// run asks the upstream and relays the answer. An error means that nothing was sent to the visitor.
func (ex *exchange) run(body []byte) error {
	err := ex.ask(body)
	if err == nil {
		err = ex.answer.relayToEnd()
	}
	return ex.conclude(err)
}

// close ends the exchange, releases what it holds, and records what the visitor was sent. The exchange is open until its
// finish is recorded, so that an exit waits for that.
func (ex *exchange) close() {
	defer shutdown.Remove(ex)
	ex.unwatch()
	ex.watch.Stop()
	ex.cancel(nil)
	if ex.relay != nil {
		ex.relay.buffer.Abandon() // a failed write may still read it, see endStream; no effect after a release
		ex.relay.note(ex.record)
	}
	if ex.record.Outcome == telemetry.OutcomeAnswered {
		ex.log.Works(ex.record, telemetry.Answers)
	}
	ex.record.Bytes = ex.output.Close(ex.record.FinishReason, ex.record.Cause)
}

// readToken reads the API token once for all attempts.
func (ex *exchange) readToken() error {
	var err error
	if ex.secret, err = ex.token.Get(); err != nil {
		return errTokenUnusable.Because(tokenUnusable{err})
	}
	ex.log.Works(ex.record, telemetry.Token)
	return nil
}

// ask sends the chat upstream until there is an answer for the visitor. It repeats an attempt where that is safe.
func (ex *exchange) ask(body []byte) error {
	if err := ex.readToken(); err != nil {
		return err
	}
	ex.record.StartSpan(ex.ctx, ex.endpoint.URL, ex.endpoint.Public)
	ex.body, ex.key = body, upstream.NewIdempotencyKey()
	defer func() { ex.body = nil }() // the answer may take long, and does not need the body
	return ex.retry.run(ex.ctx, ex.watch.Left(), ex)
}

// try makes one attempt to get an answer from the upstream.
func (ex *exchange) try() (err error) {
	defer ex.admission.EndTurn()
	if err := ex.ctx.Err(); err != nil {
		return apierror.Unreachable.Because(err)
	}
	status := 0
	var late error // an error of the upstream that came after the response headers were sent
	defer func() { ex.record.Tried(ex.ctx, status, cmp.Or(err, late)) }()
	ex.record.Tries++
	ctx, cancel := context.WithCancelCause(ex.ctx)
	ex.watch.StartTry(ex.responseTimeout, cancel)
	resp, sent, err := ex.client.Send(ctx, upstream.Request{Token: ex.secret, Body: ex.body, Key: ex.key, Header: ex.traceHeader(ctx), Watch: &ex.watch})
	if sent {
		ex.admission.Reached()
	}
	if err != nil {
		err = apierror.Unreachable.Because(err)
	} else {
		status = resp.StatusCode
		ex.record.UpstreamStatus = status
		ex.noteRateLimit(status, resp.Header)
		ex.admission.Answered()
		if ex.answer, err = ex.accept(ctx, resp); err == nil {
			late = ex.noteStated(resp)
			return nil // ctx must outlive this attempt: the answer is read under it, and ex.cancel ends it
		}
		resp.Body.Close()
		if stated, ok := errors.AsType[*apierror.Error](err); ok && status == http.StatusOK {
			ex.noteRateLimit(stated.Upstream, resp.Header)
		}
	}
	ex.watch.EndTry()
	if _, known := errors.AsType[*apierror.Error](err); !known { // a status counts, however its body ends
		if timeout, ok := errors.AsType[*apierror.Interruption](context.Cause(ctx)); ok {
			err = timeout
		}
	}
	cancel(nil)
	if errors.Is(err, apierror.ResponseTimeout) {
		// The connection may have been dead, and idle ones of the same age may be dead, too.
		ex.client.CloseIdle()
	}
	return err
}

// noteStated logs the error that the first event states, if the response headers had been sent before it came. Then the
// visitor gets the event. It returns that error, or nil.
func (ex *exchange) noteStated(resp *http.Response) error {
	stated, ok := errors.AsType[*apierror.Error](ex.answer.stated)
	if ok {
		ex.noteRateLimit(stated.Upstream, resp.Header)
		logError(ex.log, ex.record, stated)
	}
	return ex.answer.stated
}

// nextTurn returns how long a cool-down delays the next attempt; 0 if the attempt can be made now.
func (ex *exchange) nextTurn() (wait time.Duration) { return ex.admission.NextTurn() }

// isOver reports whether no further attempt is possible, because something was sent to the visitor or the exchange has
// ended. If it ended while the words of an error were read, the error's status still counts.
func (ex *exchange) isOver() bool { return ex.output.IsCommitted() || ex.ctx.Err() != nil }

// logPause logs that an attempt failed with cause, and will be repeated after pause.
func (ex *exchange) logPause(tries int, pause time.Duration, cause error) {
	if c := ex.log.Logger().Check(zap.DebugLevel, "trying again"); c != nil {
		c.Write(zap.Int("tries", tries), zap.Duration("pause", pause), zap.NamedError("cause", cause))
	}
}

// traceHeader returns the header fields that pass the trace on to the upstream, or nil if propagate_trace is off.
func (ex *exchange) traceHeader(ctx context.Context) http.Header {
	if !ex.propagateTrace {
		return nil
	}
	header := make(http.Header)
	ex.record.Propagate(ctx, header)
	return header
}

// noteRateLimit starts the assistant's cool-down if the upstream answered 429 and said how long to wait.
func (ex *exchange) noteRateLimit(status int, header http.Header) {
	if status != http.StatusTooManyRequests {
		return
	}
	wait, ok := upstream.RetryAfter(header, time.Now())
	if !ok || wait == 0 {
		return
	}
	if ex.admission.CoolDown(wait) {
		ex.log.ReportChat(ex.record, telemetry.Problem{
			Level:   zapcore.WarnLevel,
			Kind:    "cool-down of " + ex.record.Label,
			Message: "the upstream limits the rate of an assistant; until it may be asked again, chats with this assistant are answered 429",
			Hint:    "set a limit that is lower than the upstream's, or ask IllumiChat to raise theirs",
		}, zap.Duration("wait", wait))
	}
}

// answer is an answer of the upstream that the visitor gets: a stream that has begun, or JSON.
type answer struct {
	ex    *exchange
	ctx   context.Context // of the attempt
	body  io.ReadCloser
	relay *relay // nil: it is JSON
	json  []byte

	stated error // what the first event says, if it is an error that came after the response headers were sent
}

// accept checks the upstream's answer and returns it, or why the visitor does not get it. It relays a stream up to its
// first event.
func (ex *exchange) accept(ctx context.Context, resp *http.Response) (*answer, error) {
	got, err := upstream.Accept(resp, ex.secret, ex.logLeak)
	if err != nil {
		return nil, err
	}
	if got.JSON != nil {
		ex.output.Prepare(got.Header, typeJSON)
		return &answer{ex: ex, ctx: ctx, body: got.Body, json: got.JSON}, nil
	}
	return ex.stream(ctx, got)
}

// stream relays an event stream up to its first event. It returns an error if there is none, or if the event is one.
func (ex *exchange) stream(ctx context.Context, got upstream.Answer) (*answer, error) {
	ex.output.Prepare(got.Header, sse.MediaType)
	ex.watch.Accept()
	ex.relay = newRelay(ex.secret, ex.output, &ex.watch)
	a := &answer{ex: ex, ctx: ctx, body: got.Body, relay: ex.relay}
	err := a.relay.start(got.Body)
	if err == nil {
		if a.relay.stated != nil {
			a.stated = got.Stated(a.relay.stated)
		}
		return a, nil
	}
	if first, ok := errors.AsType[*errorEvent](err); ok {
		err = got.Stated(first.data)
	}
	return nil, a.endStream(err)
}

// relayToEnd relays the answer to its end. It returns nil if the answer is complete, otherwise why it is not.
func (a *answer) relayToEnd() error {
	if a.relay != nil {
		_ = a.relay.copy(a.body) // endRelay returns its error
	}
	return a.endRelay()
}

// isRelayed reports whether all of the stream was relayed. JSON is relayed by endRelay.
func (a *answer) isRelayed() bool { return a.relay == nil || a.relay.ended }

// relayNext relays what the upstream sends next. It waits for that.
func (a *answer) relayNext() { a.relay.step(a.body) }

// endRelay ends the relay. It returns nil if the answer is complete, otherwise why it is not.
func (a *answer) endRelay() error {
	defer a.body.Close()
	if a.relay == nil {
		a.ex.watch.Stop()
		return a.ex.output.WriteAll(a.json)
	}
	return a.endStream(a.relay.err)
}

// endStream releases the relay's memory. err is what start or copy returned. endStream returns why the answer broke
// off, or nil if it did not.
func (a *answer) endStream(err error) error {
	finished := a.relay.finished
	if !errors.Is(err, apierror.ErrVisitorGone) {
		// After a failed write, HTTP/2 may still read the bytes, so that buffer must not be reused.
		a.relay.release()
	}
	_, interrupted := errors.AsType[*apierror.Interruption](err)
	_, refused := errors.AsType[*apierror.Error](err)
	switch {
	case err == nil:
		return nil
	case finished && errors.Is(err, apierror.Leak):
		a.ex.logLeak(upstream.Leak{What: "the rest of the answer, after its finish, is dropped"})
		return nil
	case interrupted, refused, errors.Is(err, apierror.ErrVisitorGone):
		return err
	}
	if timeout, ok := errors.AsType[*apierror.Interruption](context.Cause(a.ctx)); ok {
		return timeout
	}
	return apierror.Closed.Because(err)
}

// conclude ends the exchange's output. A nil err means that the answer is complete. Otherwise err, or the cause of the
// exchange's cancellation, says why the answer is incomplete. The visitor gets that reason as a finish. If nothing was
// sent yet, conclude returns it as an error instead.
func (ex *exchange) conclude(err error) error {
	ex.watch.Stop()
	cause := context.Cause(ex.ctx)
	if err == nil {
		ex.record.Outcome, ex.record.Cut = telemetry.OutcomeAnswered, cause == watchdog.ErrLingered
		return nil
	}
	watchdog.Rethrow(cause) // in this goroutine, net/http recovers it as usual
	reason := interruptionOf(cause)
	switch {
	case errors.Is(err, apierror.ErrVisitorGone):
		return ex.leave(err)
	case cause != nil && reason == nil:
		return ex.leave(cause)
	case reason != nil && reason.IsStop():
		return ex.interrupt(reason)
	}
	if refusal, ok := errors.AsType[*apierror.Error](err); ok { // once the upstream's status is known, it counts
		return ex.refuse(refusal)
	}
	if reason != nil {
		return ex.interrupt(reason)
	}
	if reason := interruptionOf(err); reason != nil {
		return ex.interrupt(reason)
	}
	return err
}

// refuse returns an error for the visitor. If the response headers were sent meanwhile, it sends a finish instead.
func (ex *exchange) refuse(refusal *apierror.Error) error {
	if ex.output.IsCommitted() {
		return ex.interrupt(apierror.InsteadOf(refusal))
	}
	return refusal
}

// interrupt sends the visitor a finish with the reason why the upstream sent none. If nothing was sent yet, it returns
// the reason as an error instead.
func (ex *exchange) interrupt(reason *apierror.Interruption) error {
	if ex.relay != nil && ex.relay.finishSent {
		ex.record.Outcome = telemetry.OutcomeAnswered // the visitor has the finish, and nothing after it matters
		return nil
	}
	switch {
	case ex.output.IsCommitted():
	case !reason.IsStop():
		return reason.Before().Because(reason.Cause)
	default:
		ex.output.Prepare(nil, sse.MediaType)
		if err := ex.output.Commit(); err != nil {
			return ex.leave(err)
		}
	}
	reason = ex.stating(reason)
	ex.record.Ended(reason.FinishReason(), reason.Code.String())
	if ex.answer == nil || ex.answer.stated == nil { // else noteStated has logged why
		ex.logInterruption(ex.record, reason, telemetry.Answers)
	}
	if err := ex.output.Finish(chat.FinishEvent(reason)); err != nil {
		return ex.leave(err)
	}
	return nil
}

// stating returns reason. If the upstream's last event was an error event, the result has that event's words.
func (ex *exchange) stating(reason *apierror.Interruption) *apierror.Interruption {
	if ex.relay == nil || !reason.IsBreak() {
		return reason
	}
	said := ex.relay.failure
	if ex.secret.In([]byte(said.Text)) || ex.secret.In([]byte(said.Code)) { // decoded, they may hold it although the event did not
		return reason
	}
	if said == (chat.Failure{}) {
		return reason
	}
	return reason.Stating(said.Text, said.Code)
}

// leave ends the exchange after the visitor left or stopped reading. It returns an error if nothing was sent.
func (ex *exchange) leave(err error) error {
	if ex.relay != nil && ex.relay.finishSent {
		ex.record.Outcome = telemetry.OutcomeAnswered // the visitor has the finish, and nothing after it matters
		return nil
	}
	if ex.ctx.Err() != nil {
		ex.record.Cancelled = ex.sinceLeft()
	}
	return ex.visitorLeft(ex.record, departure{
		output: ex.output, http3: ex.http3, due: interruptionOf(context.Cause(ex.ctx)), err: err,
	})
}

// interruptionOf returns the Interruption that err is or wraps, or nil.
func interruptionOf(err error) *apierror.Interruption {
	reason, _ := errors.AsType[*apierror.Interruption](err)
	return reason
}

// endsAtReload reports whether s is a stream of these exchanges and must end when a reload replaces their handler. Only
// a stream with an HTTP/3 response must, because Caddy closes HTTP/3 connections on reload.
func (es *exchanges) endsAtReload(s shutdown.Stream) bool {
	switch s := s.(type) {
	case *exchange:
		return s.exchanges == es && s.http3
	case *listening:
		return s.exchanges == es && s.http3
	}
	return false
}

// IsHeard reports whether a visitor waits for the answer, or can still come back for it after this process exits.
func (ex *exchange) IsHeard() bool { return ex.output.IsHeard() }

// Context returns the context of the upstream request.
func (ex *exchange) Context() context.Context { return ex.ctx }

// Cancel ends the exchange. cause says why.
func (ex *exchange) Cancel(cause error) { ex.cancel(cause) }

// HowAsked returns how often the upstream was asked, and the status of its last answer.
func (ex *exchange) HowAsked() (tries, status int) { return ex.record.Tries, ex.record.UpstreamStatus }

// logInterruption logs that the visitor of c got an error finish with the given reason. breaks is the part that does not
// work because of the reason; "" means none. The finish may stand for an error that is the visitor's own matter.
func (es *exchanges) logInterruption(c *telemetry.Record, reason *apierror.Interruption, breaks telemetry.Part) {
	before := reason.Before()
	level := reason.Level()
	if before.Upstream != 0 {
		level = min(level, levelOf(c, before))
	}
	es.log.ReportChat(c, telemetry.Problem{
		Level:   level,
		Kind:    reason.Code.String() + " " + before.Hint + " " + cause.Kind(reason.Cause),
		Message: "the answer broke off",
		Hint:    before.Hint,
		Breaks:  breaks,
	}, zap.String("code", reason.LoggedCode()), zap.NamedError("cause", reason.Cause))
}

// logLeak logs that the upstream sent the API token back, and what was done to keep it from the visitor.
func (ex *exchange) logLeak(l upstream.Leak) {
	var fields []zap.Field
	if l.Header != "" {
		fields = append(fields, zap.String("header", l.Header))
	}
	if l.Status != 0 {
		fields = append(fields, zap.Int("status", l.Status))
	}
	ex.log.ReportChat(ex.record, telemetry.Problem{
		Level:   zapcore.ErrorLevel,
		Kind:    "leak: " + l.What,
		Message: "the upstream sent the API token back; " + l.What,
		Hint:    "revoke the token, and inform IllumiChat",
	}, fields...)
}

// sinceLeft returns how long ago the visitor left. The result is never 0, which would mean that the visitor did not
// leave. If leftAt is not set yet, the result is a nanosecond.
func (ex *exchange) sinceLeft() time.Duration {
	const moment = time.Nanosecond
	if at := time.Duration(ex.leftAt.Load()); at > 0 {
		return max(ex.watch.Now()-at, moment)
	}
	return moment
}

// noteChat records the assistant of a chat, and whether the chat continues an earlier one.
func noteChat(c *telemetry.Record, asked chat.Chat) {
	c.Assistant, c.Alias, c.Label, c.Continued = asked.Assistant, asked.Alias, asked.Label, asked.Continued
}
