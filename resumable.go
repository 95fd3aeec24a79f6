package illumichat

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/cause"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// serve records the answer to a chat for as long as any visitor wants it. The visitor who asked listens to the
// recording. An error means that nothing was sent.
func (m *resumer) serve(w http.ResponseWriter, r *http.Request, owner string, asked chat.Chat, a *limit.Admission, c *telemetry.Record) error {
	release := m.limiter.Use() // the visitor may still read after the exchange is over
	defer release()
	response := m.exchanges.response(w, r, c.Start, "")
	defer func() { c.Bytes = response.Close("", "") }()
	c.Admitted = true
	rec := recording.New(recording.Config{
		ID:    a.ID,
		Store: m.store,
		Terms: m.terms,
		Meta:  store.Meta{Owner: owner, Assistant: asked.Label},
		Until: response.Deadline(),
		Slot:  a,
	})
	// The exchange may outlive the visitor's request: keep the context's values, not its cancellation.
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
		// No visitor can come back, because the id was not sent yet.
		ex.Cancel(apierror.Abandoned)
		<-over
	}
	if !rec.IsCommitted() {
		c.Tries, c.UpstreamStatus = ex.HowAsked() // the exchange is over and no longer writes them
		return m.writeJSON(r, response, rec, c, failed)
	}
	listener := rec.First()
	defer listener.Close()
	defer a.LeaveStream()
	c.Tries, c.UpstreamStatus = rec.Asked()
	if err := m.follow(r, response, rec.Head(), listener, c); err != nil {
		return err
	}
	if c.Cause != telemetry.CauseLeft && c.Cause != telemetry.CauseStalled {
		<-over // so that the slot is free before the visitor can ask again
	}
	return nil
}

// newAnswerRecord returns the record of an answer's exchange. The visitors who listen to the answer have records of
// their own.
func newAnswerRecord(asked chat.Chat, start time.Time) *telemetry.Record {
	c := &telemetry.Record{Start: start}
	noteChat(c, asked)
	return c
}

// runAlone runs the exchange and closes it. It is called in a goroutine of its own, so it recovers a panic itself.
func (ex *exchange) runAlone(body []byte) (err error) {
	defer ex.admission.Leave()
	defer ex.record.EndSpan()
	defer ex.close()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		// If nothing is committed, the handler's goroutine waits for err and panics again, and net/http logs that.
		err = &watchdog.Panic{Value: p}
		if ex.output.IsCommitted() {
			ex.log.Logger().Error("panic while an answer was recorded", zap.String("panic", cause.OfPanic(p)), zap.ByteString("stack", debug.Stack()))
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

// writeJSON sends an answer that is not a stream to the visitor who asked. It returns err if there is no answer. An err
// that carries the exchange's panic panics again.
func (m *resumer) writeJSON(r *http.Request, response *visitor.Response, rec *recording.Recorder, c *telemetry.Record, err error) error {
	watchdog.Rethrow(err)
	if r.Context().Err() != nil {
		return apierror.ErrVisitorGone
	}
	if err != nil {
		return err
	}
	response.Prepare(rec.Head(), typeJSON)
	if err := response.WriteAll(rec.JSON()); err != nil {
		return m.visitorLeft(r, response, c, err)
	}
	c.Outcome = telemetry.OutcomeAnswered
	return nil
}

// follow sends a stream to a visitor, until it ends or the visitor leaves. An error means that nothing was sent.
func (m *resumer) follow(r *http.Request, response *visitor.Response, head http.Header, listener store.Listener, c *telemetry.Record) error {
	response.Prepare(head, sse.MediaType)
	progress := recording.Progress{Events: &c.Events, FirstEvent: &c.FirstEvent}
	err := recording.Follow(r.Context(), c.Start, response, listener, progress)
	switch {
	case err == nil:
		end := listener.End()
		c.Ended(end.Reason, end.Cause)
		return nil
	case errors.Is(err, store.ErrLost):
		return m.finishLost(r, response, c, err)
	}
	watchdog.Rethrow(err)
	return m.visitorLeft(r, response, c, err)
}

// finishLost ends the response with a finish of our own, after the store lost the rest of the answer.
func (m *resumer) finishLost(r *http.Request, response *visitor.Response, c *telemetry.Record, err error) error {
	c.Ended(apierror.Lost.FinishReason(), apierror.Lost.Code.String())
	m.log.Report(apierror.Lost.Level(), apierror.Lost.Code.String(), "the rest of an answer is lost",
		"see whether the instance that wrote it has ended, or the store was emptied", zap.NamedError("cause", err))
	if err := response.Commit(); err != nil {
		return m.visitorLeft(r, response, c, err)
	}
	if err := response.Finish(chat.FinishEvent(apierror.Lost)); err != nil {
		return m.visitorLeft(r, response, c, err)
	}
	return nil
}

// visitorLeft ends the response to a visitor who left or stopped reading. It returns an error if nothing was sent.
func (m *resumer) visitorLeft(r *http.Request, response *visitor.Response, c *telemetry.Record, err error) error {
	return m.exchanges.visitorLeft(c, departure{output: response, http3: r.ProtoMajor == 3, err: err})
}
