package illumichat

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sse"
)

const (
	userAgent = "caddy-illumichat"

	maxErrorAnswer = 64 << 10  // bytes of an error's body that are looked at
	maxRetryAfter  = time.Hour // the most that an upstream may have visitors wait
)

var (
	errTokenUnusable = &apierror.Error{
		Status: http.StatusBadGateway, Code: apierror.CodeUnauthorizedUpstream,
		Text: "the chat is not set up correctly",
		Hint: "the token's file cannot be used; put the API token there again, no reload is needed",
	}
	errTokenRefused = &apierror.Error{
		Status: http.StatusBadGateway, Code: apierror.CodeUnauthorizedUpstream,
		Text: "the chat is not set up correctly",
		Hint: "the upstream refused the API token; check that it was not revoked and may use this assistant",
	}
)

// try asks the upstream once.
func (ex *exchange) try(body []byte, key string) (a *answer, err error) {
	defer ex.admission.EndTurn()
	if err := ex.ctx.Err(); err != nil {
		return nil, apierror.Unreachable.Because(err)
	}
	status := 0
	defer func() { ex.record.Tried(ex.ctx, status, err) }()
	ex.record.Tries++
	ctx, cancel := context.WithCancelCause(ex.ctx)
	ex.watch.StartTry(time.Duration(ex.h.ResponseTimeout), cancel)
	resp, err := ex.send(ctx, body, key)
	if err != nil {
		err = apierror.Unreachable.Because(err)
	} else {
		status = resp.StatusCode
		ex.record.UpstreamStatus = status
		ex.noteRateLimit(resp)
		ex.admission.Answered()
		if a, err = ex.accept(ctx, resp); err == nil {
			return a, nil // the exchange cancels it
		}
		resp.Body.Close()
	}
	ex.watch.EndTry()
	if timeout, ok := errors.AsType[*apierror.Interruption](context.Cause(ctx)); ok {
		err = timeout
	}
	cancel(nil)
	return nil, err
}

// maxStale is how many kept connections may fail one after the other.
const maxStale = 10

// send sends the request and returns the head of the answer. Where a kept connection turns out to be closed
// before anything was written to it, nothing was asked, so the next connection is taken at once.
func (ex *exchange) send(ctx context.Context, chat []byte, key string) (*http.Response, error) {
	for stale := 0; ; stale++ {
		body := &chatBody{Reader: bytes.NewReader(chat), queue: ex.h.connQueue}
		req, err := ex.request(ctx, body, key)
		if err != nil {
			return nil, err
		}
		resp, err := ex.h.roundTrip(req, body)
		if err == nil || body.written.Load() || !ex.h.tellsWhatIsSent() {
			ex.admission.Reached()
		}
		if err == nil || !body.untouched() || stale == maxStale || ctx.Err() != nil {
			return resp, err
		}
	}
}

// roundTrip sends one request, which is the queue's until it has a connection.
func (h *Handler) roundTrip(req *http.Request, body *chatBody) (*http.Response, error) {
	body.looking.Store(body.queue.join(req.Context()))
	defer body.leaveQueue()
	return h.transport.RoundTrip(req)
}

// sentHeader is what the header of every request has, made once.
var sentHeader = struct{ contentType, accept, acceptEncoding, userAgent []string }{
	[]string{typeJSON}, []string{sse.MediaType}, []string{"identity"}, []string{userAgent},
}

// request builds the request from what is ours alone: nothing of the visitor's headers goes upstream.
func (ex *exchange) request(ctx context.Context, body *chatBody, key string) (*http.Request, error) {
	// Known to be in memory, head and body go out in one write.
	req, err := http.NewRequestWithContext(body.watch(ctx), http.MethodPost, ex.h.endpoint.String(), body.Reader)
	if err != nil {
		return nil, err
	}
	// With GetBody, net/http repeats a POST that has an Idempotency-Key by itself, and HTTP/2 any.
	req.GetBody = nil
	req.Header = http.Header{
		"Authorization":   {ex.token.bearer()},
		"Content-Type":    sentHeader.contentType,
		"Accept":          sentHeader.accept,
		"Accept-Encoding": sentHeader.acceptEncoding,
		"User-Agent":      sentHeader.userAgent,
		"Idempotency-Key": {key},
	}
	if ex.h.PropagateTrace {
		ex.record.Propagate(ctx, req.Header)
	}
	return req, nil
}

// newIdempotencyKey returns a value that an upstream can tell a repeated request by: a string of RFC 9651, as
// draft-ietf-httpapi-idempotency-key-header has it.
func newIdempotencyKey() string { return `"` + rand.Text() + `"` }

// chatBody is the body of one request, and what became of it.
type chatBody struct {
	*bytes.Reader
	queue   *connQueue  // nil: it need not look for a connection in turn
	looking atomic.Bool // has a place in it
	kept    atomic.Bool // the connection was used before
	written atomic.Bool // some of the request, maybe
}

// watch returns a context that has net/http tell what it does with the request.
func (b *chatBody) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      b.gotConn,
		WroteHeaders: func() { b.written.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			b.written.Store(true)
			// net/http keeps the reader for as long as the answer takes, so it has to let go of the bytes.
			b.Reset(nil)
		},
	})
}

func (b *chatBody) gotConn(info httptrace.GotConnInfo) {
	b.kept.Store(info.Reused)
	if !info.Reused {
		b.queue.learn(info.Conn)
	}
	b.leaveQueue()
}

func (b *chatBody) leaveQueue() {
	if b.looking.CompareAndSwap(true, false) {
		b.queue.leave()
	}
}

// untouched reports whether the request failed on a kept connection to which nothing was written.
func (b *chatBody) untouched() bool { return b.kept.Load() && !b.written.Load() }

// noteRateLimit starts the cool-down where the upstream says how long it is not to be asked.
func (ex *exchange) noteRateLimit(resp *http.Response) {
	if resp.StatusCode != http.StatusTooManyRequests {
		return
	}
	wait, ok := retryAfter(resp.Header, time.Now())
	if !ok || wait == 0 {
		return
	}
	if ex.admission.CoolDown(wait) {
		ex.h.log.Report(zapcore.WarnLevel, "cool-down", "the upstream limits the rate; until it may be asked again, chats are answered 429",
			"set a limit that is lower than the upstream's, or have that raised", zap.Duration("wait", wait))
	}
}

// refused turns an answer other than 200 into the error that the visitor gets.
func (ex *exchange) refused(ctx context.Context, resp *http.Response) error {
	status := resp.StatusCode
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return errTokenRefused.Because(fmt.Errorf("status %d", status))
	case status < 400 || status > 599:
		// A redirect is not followed: the token is for the configured host alone.
		return errNoChatAnswer.Because(fmt.Errorf("status %d", status))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorAnswer+1))
	if ctx.Err() != nil {
		return apierror.Closed.Because(err)
	}
	e := apierror.FromStatus(status)
	if err == nil && len(body) <= maxErrorAnswer {
		e.Adopt(body)
	}
	if ex.token.in(body) || ex.token.in(e.Body()) {
		ex.h.tellOfLeak("its words are replaced", zap.Int("status", status))
		e = apierror.FromStatus(status)
	}
	e.Cause = fmt.Errorf("status %d", status)
	e.Upstream = status
	if wait, ok := retryAfter(resp.Header, time.Now()); ok {
		e.RetryAfter, e.Header = wait, apierror.RetryAfterHeader(wait)
	}
	return e
}

// tellOfLeak tells the operator of a token that would have gone out.
func (h *Handler) tellOfLeak(what string, fields ...zap.Field) {
	h.log.Report(zapcore.ErrorLevel, "leak: "+what, "the upstream sent the API token back; "+what,
		"revoke the token, and tell IllumiChat", fields...)
}

// retryAfter reads a Retry-After (RFC 9110, § 10.2.3): how long to wait, and whether the upstream said so.
func retryAfter(header http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := header.Get("Retry-After")
	if n, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter), true
	}
	return 0, false
}
