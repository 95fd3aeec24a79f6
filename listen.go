package illumichat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// serveResumable has the answer recorded, for as long as somebody wants it, and the visitor listen to that.
func (h *Handler) serveResumable(w http.ResponseWriter, r *http.Request, owner string, asked chat.Chat, a *limit.Admission, c *telemetry.Record) error {
	release := h.limiter.Use() // for as long as the visitor reads, which may be longer than the upstream takes
	defer release()
	visitor := h.exchanges.response(w, r, c.Start, "")
	defer func() { c.Bytes = visitor.Close("", "") }()
	c.Admitted = true
	rec := newRecording(h, a.ID, owner, asked, visitor)
	// Of the visitor's request the values are needed, but it may end before.
	rec.ex = h.exchanges.open(context.WithoutCancel(r.Context()), rec, false, a, newAnswerRecord(asked, c.Start))
	var failed error
	over := make(chan struct{})
	go func() {
		defer close(over)
		failed = rec.ex.runAlone(asked.Body)
	}()

	select {
	case <-rec.begun:
	case <-over:
	case <-r.Context().Done():
		// Nobody has the id yet.
		rec.ex.cancel(apierror.Abandoned)
		<-over
	}
	if !rec.IsCommitted() {
		return h.passOn(r, rec, visitor, c, failed)
	}
	defer rec.first.Close()
	defer a.LeaveStream()
	rec.note(c)
	if err := h.follow(r, visitor, rec.head, rec.first, c); err != nil {
		return err
	}
	if c.Cause != telemetry.CauseLeft && c.Cause != telemetry.CauseStalled {
		<-over // so that the slot is free before the visitor can ask again
	}
	return nil
}

// newAnswerRecord is what is noted of an answer that is recorded, apart from the visitors who listen to it.
func newAnswerRecord(asked chat.Chat, start time.Time) *telemetry.Record {
	c := &telemetry.Record{Start: start}
	noteChat(c, asked)
	return c
}

// runAlone is run in a goroutine of its own.
func (ex *exchange) runAlone(body []byte) (err error) {
	defer ex.admission.Leave()
	defer ex.record.EndSpan()
	defer ex.close()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		// Where a visitor waits for the answer, net/http tells of it.
		err = &watchdog.Panic{Value: p}
		if ex.output.IsCommitted() {
			ex.log.Logger().Error("panic while an answer was recorded", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			ex.record.Ended(apierror.Closed.FinishReason(), apierror.Closed.Code.String())
			_ = ex.output.Finish(chat.FinishEvent(apierror.Closed))
		}
	}()
	err = ex.run(body)
	if ex.record.Cause == apierror.Abandoned.Code.String() {
		telemetry.Abandoned()
	}
	return err
}

// passOn gives the visitor who asked an answer that is no stream, or returns the error that there is instead.
func (h *Handler) passOn(req *http.Request, r *recording, visitor *visitor.Response, c *telemetry.Record, err error) error {
	c.Tries, c.UpstreamStatus = r.ex.record.Tries, r.ex.record.UpstreamStatus // which nobody writes any more
	watchdog.Rethrow(err)
	if req.Context().Err() != nil {
		return apierror.ErrVisitorGone
	}
	if err != nil {
		return err
	}
	visitor.Prepare(r.head, typeJSON)
	if err := visitor.WriteAll(r.json); err != nil {
		return h.visitorLeft(req, visitor, c, err)
	}
	c.Outcome = telemetry.OutcomeAnswered
	return nil
}

// visitorLeft ends what was sent to a visitor who left or does not read.
func (h *Handler) visitorLeft(r *http.Request, visitor *visitor.Response, c *telemetry.Record, err error) error {
	c.Left(err)
	if !visitor.IsCommitted() {
		return apierror.ErrVisitorGone
	}
	h.exchanges.logLeft(c, err)
	if r.ProtoMajor == 3 && errors.Is(err, apierror.ErrVisitorGone) {
		abort()
	}
	return nil
}

// note tells how the upstream was asked.
func (r *recording) note(c *telemetry.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Tries, c.UpstreamStatus = r.tries, r.upstreamStatus
}

// follow has a visitor listen to a stream, to its end or until they leave.
func (h *Handler) follow(r *http.Request, visitor *visitor.Response, head http.Header, listener store.Listener, c *telemetry.Record) error {
	visitor.Prepare(head, sse.MediaType)
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	var beat watchdog.Alarm
	beat.Init(c.Start, func(now time.Duration) time.Duration {
		next, err := watchdog.Guard(visitor.Heartbeat)
		if err != nil {
			cancel(err)
		}
		return min(next, visitor.EndStalled(now))
	})
	defer beat.Stop()
	beat.NoLaterThan(beat.Now() + visitor.Patience())

	for {
		err := passPiece(ctx, visitor, listener, c)
		if err == nil {
			continue
		}
		beat.Stop()
		switch {
		case err == io.EOF:
			end := listener.End()
			c.Ended(end.Reason, end.Cause)
			return nil
		case errors.Is(err, store.ErrLost):
			return h.tellLost(r, visitor, c, err)
		}
		watchdog.Rethrow(err)
		return h.visitorLeft(r, visitor, c, err)
	}
}

// tellLost ends an answer of which nothing follows any more.
func (h *Handler) tellLost(r *http.Request, visitor *visitor.Response, c *telemetry.Record, err error) error {
	c.Ended(apierror.Lost.FinishReason(), apierror.Lost.Code.String())
	h.log.Report(apierror.Lost.Level(), apierror.Lost.Code.String(), "the rest of an answer is lost",
		"see whether the instance that wrote it has ended, or the store was emptied", zap.NamedError("cause", err))
	if err := visitor.Commit(); err != nil {
		return h.visitorLeft(r, visitor, c, err)
	}
	if err := visitor.Finish(chat.FinishEvent(apierror.Lost)); err != nil {
		return h.visitorLeft(r, visitor, c, err)
	}
	return nil
}

// passPiece passes on what is there next. It returns io.EOF at the stream's end.
func passPiece(ctx context.Context, visitor *visitor.Response, listener store.Listener, c *telemetry.Record) error {
	piece, err := listener.Read()
	switch {
	case err != nil:
		return err
	case len(piece.Data) > 0:
		if c.FirstEvent == 0 && piece.Events > 0 {
			c.FirstEvent = time.Since(c.Start)
		}
		if err := visitor.WriteEvents(piece.Data, !piece.Torn, true); err != nil {
			return err
		}
		c.Events += int64(piece.Events)
		return nil
	}
	if err := visitor.Commit(); err != nil {
		return err
	}
	return listener.Wait(ctx)
}
