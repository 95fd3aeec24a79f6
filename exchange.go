package illumichat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/shutdown"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
)

var errTokenUnusable = &apierror.Error{
	Status: http.StatusBadGateway, Code: apierror.CodeUnauthorizedUpstream,
	Text: "the chat is not set up correctly",
	Hint: "the token's file cannot be used; put the API token there again, no reload is needed",
}

// exchanges are the services and settings that all exchanges of a handler have in common.
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
	ctx       context.Context // of the request upstream; its cause says why the exchange ended
	cancel    context.CancelCauseFunc
	output    output
	watch     watchdog.Watchdog
	relay     *relay // of the last stream
	http3     bool   // the visitor came by HTTP/3
	secret    upstream.Token

	body   []byte  // that is sent upstream
	key    string  // the Idempotency-Key, which all tries share
	answer *answer // of the last try, if it had one to pass on

	leftAt  atomic.Int64 // when the visitor left, from the start; 0: not yet
	unwatch func() bool  // ends looking for that
}

// open prepares to ask on behalf of a visitor, who is let in, for as long as ctx lasts. Of what is visited by HTTP/3, a
// reload has to end it.
func (es *exchanges) open(ctx context.Context, out output, http3 bool, a *limit.Admission, c *telemetry.Record) *exchange {
	c.Admitted = true
	ex := &exchange{exchanges: es, admission: a, record: c, output: out, http3: http3}
	// Not a child of the config's context, which a reload cancels.
	ex.ctx, ex.cancel = context.WithCancelCause(ctx)
	end := es.maxDuration
	if deadline := out.Deadline(); !deadline.IsZero() {
		left := deadline.Sub(c.Start)
		end = min(end, left-min(time.Second, left/5))
	}
	ex.watch.Init(out, ex.cancel, watchdog.Options{
		Start:       c.Start,
		End:         end,
		CommitAfter: es.commitAfter,
		Idle:        es.idleTimeout,
	})
	ex.unwatch = context.AfterFunc(ctx, func() { ex.leftAt.Store(int64(ex.watch.Now())) })
	shutdown.Add(ex)
	return ex
}

// response returns the response to a visitor whose request began at start. Its Cache-Control may be another one than that of an
// answer to a POST.
func (es *exchanges) response(w http.ResponseWriter, r *http.Request, start time.Time, cacheControl string) *visitor.Response {
	return visitor.New(w, r, visitor.Options{
		Start:        start,
		WriteTimeout: es.writeTimeout,
		Heartbeat:    es.heartbeat,
		CacheControl: cacheControl,
	})
}

// run asks, and passes the answer on. An error means that nothing was sent.
func (ex *exchange) run(body []byte) error {
	err := ex.ask(body)
	if err == nil {
		err = ex.answer.relayToEnd()
	}
	return ex.conclude(err)
}

// close gives everything back.
func (ex *exchange) close() {
	shutdown.Remove(ex)
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
	if ex.secret, err = ex.token.Get(); err != nil {
		return errTokenUnusable.Because(err)
	}
	return nil
}

// ask sends the chat upstream, again where that is safe, until there is an answer to pass on.
func (ex *exchange) ask(body []byte) error {
	if err := ex.readToken(); err != nil {
		return err
	}
	ex.record.StartSpan(ex.ctx, ex.endpoint.URL, ex.endpoint.Public)
	ex.body, ex.key = body, upstream.NewIdempotencyKey()
	defer func() { ex.body = nil }() // an answer may take long, and needs it no more
	return ex.retry.run(ex.ctx, ex.watch.Left(), ex)
}

// try asks the upstream once.
func (ex *exchange) try() (err error) {
	defer ex.admission.EndTurn()
	if err := ex.ctx.Err(); err != nil {
		return apierror.Unreachable.Because(err)
	}
	status := 0
	defer func() { ex.record.Tried(ex.ctx, status, err) }()
	ex.record.Tries++
	ctx, cancel := context.WithCancelCause(ex.ctx)
	ex.watch.StartTry(ex.responseTimeout, cancel)
	resp, sent, err := ex.client.Send(ctx, upstream.Request{Token: ex.secret, Body: ex.body, Key: ex.key, Header: ex.traceHeader(ctx)})
	if sent {
		ex.admission.Reached()
	}
	if err != nil {
		err = apierror.Unreachable.Because(err)
	} else {
		status = resp.StatusCode
		ex.record.UpstreamStatus = status
		ex.noteRateLimit(resp)
		ex.admission.Answered()
		if ex.answer, err = ex.accept(ctx, resp); err == nil {
			return nil // the exchange cancels it
		}
		resp.Body.Close()
	}
	ex.watch.EndTry()
	if timeout, ok := errors.AsType[*apierror.Interruption](context.Cause(ctx)); ok {
		err = timeout
	}
	cancel(nil)
	if errors.Is(err, apierror.ResponseTimeout) {
		// Its connection may have been dead, and then others that are as old may be, too.
		ex.client.CloseIdle()
	}
	return err
}

// nextTurn waits for leave to ask once more.
func (ex *exchange) nextTurn() (wait time.Duration) { return ex.admission.NextTurn() }

// isCommitted reports whether the visitor was sent anything, so that nothing can be asked again.
func (ex *exchange) isCommitted() bool { return ex.output.IsCommitted() }

// logPause tells of a try that is to be repeated.
func (ex *exchange) logPause(tries int, pause time.Duration, cause error) {
	if c := ex.log.Logger().Check(zap.DebugLevel, "trying again"); c != nil {
		c.Write(zap.Int("tries", tries), zap.Duration("pause", pause), zap.NamedError("cause", ex.withoutToken(cause)))
	}
}

// traceHeader is what tells the upstream of the trace, if it is to be told.
func (ex *exchange) traceHeader(ctx context.Context) http.Header {
	if !ex.propagateTrace {
		return nil
	}
	header := make(http.Header)
	ex.record.Propagate(ctx, header)
	return header
}

// noteRateLimit starts the cool-down where the upstream says how long it is not to be asked.
func (ex *exchange) noteRateLimit(resp *http.Response) {
	if resp.StatusCode != http.StatusTooManyRequests {
		return
	}
	wait, ok := upstream.RetryAfter(resp.Header, time.Now())
	if !ok || wait == 0 {
		return
	}
	if ex.admission.CoolDown(wait) {
		ex.log.Report(zapcore.WarnLevel, "cool-down", "the upstream limits the rate; until it may be asked again, chats are answered 429",
			"set a limit that is lower than the upstream's, or have that raised", zap.Duration("wait", wait))
	}
}

// answer is what the upstream has answered with and the visitor gets: a stream that has begun, or JSON.
type answer struct {
	ex    *exchange
	ctx   context.Context // of the try
	body  io.ReadCloser
	relay *relay // nil: it is JSON
	json  []byte
}

// accept takes an answer, up to its first event if it is a stream.
func (ex *exchange) accept(ctx context.Context, resp *http.Response) (*answer, error) {
	got, err := upstream.Accept(ctx, resp, ex.secret, ex.logLeak)
	if err != nil {
		return nil, err
	}
	if got.JSON != nil {
		ex.output.Prepare(got.Header, typeJSON)
		return &answer{ex: ex, ctx: ctx, body: got.Body, json: got.JSON}, nil
	}
	return ex.stream(ctx, got)
}

// stream takes an event stream, up to its first event.
func (ex *exchange) stream(ctx context.Context, got upstream.Answer) (*answer, error) {
	ex.output.Prepare(got.Header, sse.MediaType)
	ex.watch.Accept()
	ex.relay = newRelay(ex.secret, ex.output, &ex.watch)
	a := &answer{ex: ex, ctx: ctx, body: got.Body, relay: ex.relay}
	if err := a.relay.start(got.Body); err != nil {
		return nil, a.endStream(err)
	}
	return a, nil
}

// relayToEnd passes the answer on to its end.
func (a *answer) relayToEnd() error {
	defer a.body.Close()
	if a.relay == nil {
		a.ex.watch.Stop()
		return a.ex.output.WriteAll(a.json)
	}
	return a.endStream(a.relay.copy(a.body))
}

// endStream gives back what a stream took, and returns why it has no finish, if it has none.
func (a *answer) endStream(err error) error {
	finished := a.relay.finished
	if !errors.Is(err, apierror.ErrVisitorGone) {
		a.relay.release() // HTTP/2 may still look at the bytes of a write that failed
	}
	switch _, known := errors.AsType[*apierror.Interruption](err); {
	case err == nil:
		return nil
	case finished && errors.Is(err, apierror.Leak):
		a.ex.logLeak(upstream.Leak{What: "the rest of the answer, after its finish, is dropped"})
		return nil
	case known, errors.Is(err, apierror.ErrVisitorGone):
		return err
	}
	if timeout, ok := errors.AsType[*apierror.Interruption](context.Cause(a.ctx)); ok {
		return timeout
	}
	return apierror.Closed.Because(err)
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
		return ex.leave(err)
	}
	if cause != nil {
		if reason, ok := errors.AsType[*apierror.Interruption](cause); ok {
			return ex.interrupt(reason)
		}
		return ex.leave(cause)
	}
	if reason, ok := errors.AsType[*apierror.Interruption](err); ok {
		return ex.interrupt(reason)
	}
	if refusal, ok := errors.AsType[*apierror.Error](err); ok {
		return refusal.Because(ex.withoutToken(refusal.Cause))
	}
	return err
}

// interrupt tells the visitor of an answer that has no finish of its own.
func (ex *exchange) interrupt(reason *apierror.Interruption) error {
	if ex.relay != nil && ex.relay.finishSent {
		ex.record.Outcome = telemetry.OutcomeAnswered // what would have followed does not matter
		return nil
	}
	cause := ex.withoutToken(reason.Cause)
	if !ex.output.IsCommitted() {
		return reason.Before().Because(cause)
	}
	ex.record.Ended(reason.FinishReason(), reason.Code.String())
	ex.log.Report(reason.Level(), reason.Code.String(), "the answer broke off", reason.Before().Hint,
		zap.Stringer("code", reason.Code), zap.NamedError("cause", cause))
	if err := ex.output.Finish(chat.FinishEvent(reason)); err != nil {
		return ex.leave(err)
	}
	return nil
}

// leave ends the exchange of a visitor who left or does not read.
func (ex *exchange) leave(err error) error {
	if ex.relay != nil && ex.relay.finishSent {
		ex.record.Outcome = telemetry.OutcomeAnswered // what would have followed does not matter
		return nil
	}
	if ex.ctx.Err() != nil {
		ex.record.Cancelled = ex.sinceLeft()
	}
	return ex.visitorLeft(ex.record, ex.output.IsCommitted(), ex.http3, err, ex.withoutToken(err))
}

// endsAtReload reports whether a reload that replaces these exchanges' handler ends one of them: Caddy closes HTTP/3
// connections then.
func (es *exchanges) endsAtReload(e shutdown.Exchange) bool {
	ex, ok := e.(*exchange)
	return ok && ex.exchanges == es && ex.http3
}

// IsHeard reports whether there is a visitor, or may be one although this process exits.
func (ex *exchange) IsHeard() bool { return ex.output.IsHeard() }

// Context is that of the request upstream.
func (ex *exchange) Context() context.Context { return ex.ctx }

// Cancel ends the exchange, because of cause.
func (ex *exchange) Cancel(cause error) { ex.cancel(cause) }

// HowAsked returns how often the upstream was asked, and the status of its last answer.
func (ex *exchange) HowAsked() (tries, status int) { return ex.record.Tries, ex.record.UpstreamStatus }

// logLeak tells the operator of a token that would have gone out.
func (es *exchanges) logLeak(l upstream.Leak) {
	var fields []zap.Field
	if l.Header != "" {
		fields = append(fields, zap.String("header", l.Header))
	}
	if l.Status != 0 {
		fields = append(fields, zap.Int("status", l.Status))
	}
	es.log.Report(zapcore.ErrorLevel, "leak: "+l.What, "the upstream sent the API token back; "+l.What,
		"revoke the token, and tell IllumiChat", fields...)
}

// visitorLeft ends what was sent to a visitor who left or does not read, because of err, which logged stands for in the log.
// It returns an error if nothing was sent.
func (es *exchanges) visitorLeft(c *telemetry.Record, committed, http3 bool, err, logged error) error {
	c.Left(err)
	if !committed {
		return apierror.ErrVisitorGone
	}
	if c.Cause == telemetry.CauseStalled {
		es.log.Report(zapcore.WarnLevel, telemetry.CauseStalled, "a visitor did not read the answer",
			"raise write_timeout if the connections of your visitors are that slow", zap.NamedError("cause", logged))
	} else {
		es.log.Logger().Debug("the visitor left before the end of the answer", zap.NamedError("cause", logged))
	}
	if http3 && errors.Is(err, apierror.ErrVisitorGone) {
		// HTTP/1 and 2 end an answer by themselves that a write failed on. HTTP/3 would end it as if it were complete, and a
		// visitor who reads again would take it for that.
		panic(http.ErrAbortHandler)
	}
	return nil
}

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

// withoutToken keeps the token out of the log where err quotes an upstream that sent it back.
func (ex *exchange) withoutToken(err error) error {
	if err != nil && ex.secret.In([]byte(err.Error())) {
		return errWithheld
	}
	return err
}
