package illumichat

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// serve has the answer to a chat recorded, for as long as somebody wants it, and the visitor who asked listen to that.
func (m *resumer) serve(w http.ResponseWriter, r *http.Request, owner string, asked chat.Chat, a *limit.Admission, c *telemetry.Record) error {
	release := m.limiter.Use() // for as long as the visitor reads, which may be longer than the upstream takes
	defer release()
	visitor := m.exchanges.response(w, r, c.Start, "")
	defer func() { c.Bytes = visitor.Close("", "") }()
	c.Admitted = true
	rec := recording.New(recording.Config{
		ID:    a.ID,
		Store: m.store,
		Terms: m.terms,
		Meta:  store.Meta{Owner: owner, Assistant: asked.Label},
		Until: visitor.Deadline(),
		Slot:  a,
	})
	// Of the visitor's request the values are needed, but it may end before.
	ex := m.exchanges.open(context.WithoutCancel(r.Context()), rec, false, a, newAnswerRecord(asked, c.Start))
	rec.Attach(ex)
	var failed error
	over := make(chan struct{})
	go func() {
		defer close(over)
		failed = ex.runAlone(asked.Body)
	}()

	select {
	case <-rec.Begun():
	case <-over:
	case <-r.Context().Done():
		// Nobody has the id yet.
		ex.Cancel(apierror.Abandoned)
		<-over
	}
	if !rec.IsCommitted() {
		c.Tries, c.UpstreamStatus = ex.HowAsked() // which nobody writes any more
		return m.writeJSON(r, visitor, rec, c, failed)
	}
	listener := rec.First()
	defer listener.Close()
	defer a.LeaveStream()
	c.Tries, c.UpstreamStatus = rec.Asked()
	if err := m.follow(r, visitor, rec.Head(), listener, c); err != nil {
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

// writeJSON gives the visitor who asked an answer that is no stream, or returns the error that there is instead.
func (m *resumer) writeJSON(r *http.Request, visitor *visitor.Response, rec *recording.Recorder, c *telemetry.Record, err error) error {
	watchdog.Rethrow(err)
	if r.Context().Err() != nil {
		return apierror.ErrVisitorGone
	}
	if err != nil {
		return err
	}
	visitor.Prepare(rec.Head(), typeJSON)
	if err := visitor.WriteAll(rec.JSON()); err != nil {
		return m.visitorLeft(r, visitor, c, err)
	}
	c.Outcome = telemetry.OutcomeAnswered
	return nil
}

// follow has a visitor listen to a stream, to its end or until they leave.
func (m *resumer) follow(r *http.Request, visitor *visitor.Response, head http.Header, listener store.Listener, c *telemetry.Record) error {
	visitor.Prepare(head, sse.MediaType)
	var p recording.Progress
	defer func() { c.Events, c.FirstEvent = p.Events, p.FirstEvent }()
	err := recording.Follow(r.Context(), c.Start, visitor, listener, &p)
	switch {
	case err == nil:
		end := listener.End()
		c.Ended(end.Reason, end.Cause)
		return nil
	case errors.Is(err, store.ErrLost):
		return m.finishLost(r, visitor, c, err)
	}
	watchdog.Rethrow(err)
	return m.visitorLeft(r, visitor, c, err)
}

// finishLost ends an answer of which nothing follows any more.
func (m *resumer) finishLost(r *http.Request, visitor *visitor.Response, c *telemetry.Record, err error) error {
	c.Ended(apierror.Lost.FinishReason(), apierror.Lost.Code.String())
	m.log.Report(apierror.Lost.Level(), apierror.Lost.Code.String(), "the rest of an answer is lost",
		"see whether the instance that wrote it has ended, or the store was emptied", zap.NamedError("cause", err))
	if err := visitor.Commit(); err != nil {
		return m.visitorLeft(r, visitor, c, err)
	}
	if err := visitor.Finish(chat.FinishEvent(apierror.Lost)); err != nil {
		return m.visitorLeft(r, visitor, c, err)
	}
	return nil
}

// visitorLeft ends what was sent to a visitor who left or does not read.
func (m *resumer) visitorLeft(r *http.Request, visitor *visitor.Response, c *telemetry.Record, err error) error {
	return m.exchanges.visitorLeft(c, visitor.IsCommitted(), r.ProtoMajor == 3, err, err)
}
