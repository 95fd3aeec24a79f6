package illumichat

import (
	"context"
	"net/http"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/cause"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// serve records the answer to a chat for as long as any visitor wants it. The visitor who asked listens to the
// recording. An error means that nothing was sent.
func (m *resumer) serve(w http.ResponseWriter, r *http.Request, owner string, asked chat.Chat, a *limit.Admission, c *telemetry.Record) error {
	release := m.limiter.Use() // the visitor may still read after the exchange is over
	defer release()
	response := m.exchanges.listen(w, r, c, "")
	defer response.close()
	response.lag()
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
	case <-response.ctx.Done():
		// No visitor can come back, because the id was not sent yet.
		if reason := response.reason(); reason != nil {
			ex.Cancel(reason)
		} else {
			ex.Cancel(apierror.Abandoned)
		}
		<-over
	}
	if !rec.IsCommitted() {
		c.Tries, c.UpstreamStatus = ex.HowAsked() // the exchange is over and no longer writes them
		return response.writeJSON(r, rec, failed)
	}
	listener := rec.First()
	defer listener.Close()
	defer a.LeaveStream()
	c.Tries, c.UpstreamStatus = rec.Asked()
	ended, err := response.follow(rec.Head(), listener)
	if ended {
		<-over // so that the slot is free before the visitor can ask again
		c.Dropped, c.Cut = ex.record.Dropped, ex.record.Cut
	}
	return err
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
			ex.log.Logger().Error("panic while an answer was recorded", ex.record.AssistantField(), zap.String("panic", cause.OfPanic(p)), zap.ByteString("stack", debug.Stack()))
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
func (l *listening) writeJSON(r *http.Request, rec *recording.Recorder, err error) error {
	watchdog.Rethrow(err)
	if r.Context().Err() != nil {
		return apierror.ErrVisitorGone
	}
	if err != nil {
		return err
	}
	l.Prepare(rec.Head(), typeJSON)
	if err := l.WriteAll(rec.JSON()); err != nil {
		return l.leave(err)
	}
	l.record.Outcome = telemetry.OutcomeAnswered
	return nil
}
