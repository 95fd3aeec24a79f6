package illumichat

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// maxClaims is how often a POST claims its id. A further claim is needed if the stream that has the id fails, or is
// lost, before the visitor gets anything of it.
const maxClaims = 3

var errConflict = &apierror.Error{
	Status: http.StatusConflict, Code: apierror.CodeConflictStream,
	Text: "another visitor's answer has this id; choose a new one",
}

// post serves a POST whose answer can be resumed. If the page has sent the question before, the visitor gets the answer
// that is known already. An error means that nothing was sent.
func (m *resumer) post(w http.ResponseWriter, r *http.Request, owner string, asked chat.Chat, c *telemetry.Record) error {
	release := m.limiter.Use() // the visitor may still read after the exchange is over
	defer release()
	named, err := recording.QuestionOf(r)
	switch {
	case err != nil:
		return err
	case named.After > 0, named.ID != "" && !named.Chosen:
		return m.goOn(w, r, owner, named, c)
	case named.Chosen:
		return m.askOnce(w, r, owner, named.ID, asked, c)
	}
	q := question{asked: asked, id: recording.NewID()}
	header, err := m.admitQuestion(w, r, &q)
	if err != nil {
		return err
	}
	q.source, q.first = m.store.Create(q.id, store.Meta{Owner: owner, Assistant: asked.Label}, m.terms)
	return m.ask(w, r, header, q, c)
}

// goOn serves a POST with the id of the last event that the visitor has.
func (m *resumer) goOn(w http.ResponseWriter, r *http.Request, owner string, named recording.Question, c *telemetry.Record) error {
	stream, err := lookUp(r, named.ID, m.store.Find)
	switch {
	case err != nil:
	case stream.Meta().Owner == owner:
		err = m.attach(w, r, c, attachment{stream: stream, id: named.ID, after: named.After})
	case named.Chosen:
		return errConflict
	default:
		err = errStreamUnknown
	}
	return countUnknown(err)
}

// askOnce serves a POST whose page chose the answer's id. It asks the upstream, unless the answer is known already.
func (m *resumer) askOnce(w http.ResponseWriter, r *http.Request, owner, id string, asked chat.Chat, c *telemetry.Record) (err error) {
	for range maxClaims {
		q := question{asked: asked, id: id, chosen: true}
		taken := m.claim(r, owner, &q)
		if taken == nil {
			return m.askClaimed(w, r, q, c)
		}
		if taken.Meta().Owner != owner {
			return errConflict
		}
		err = m.attach(w, r, c, attachment{stream: taken, id: id})
		if err != errStreamUnknown && !errors.Is(err, store.ErrLost) {
			return err
		}
	}
	return err
}

// claim claims the id of a question. It returns the stream that has the id already, or nil. Whoever finds the stream shares
// its slot, so the limiter must know it by then.
func (m *resumer) claim(r *http.Request, owner string, q *question) (taken store.Stream) {
	announce := func() { q.announced = m.limiter.Announce(q.id, clientOf(r)) }
	q.source, q.first, taken = m.store.Claim(q.id, store.Meta{Owner: owner, Assistant: q.asked.Label}, m.terms, announce)
	return taken
}

// askClaimed asks a question whose id was claimed. If there is no room for it, all who wait for the answer get the same
// error.
func (m *resumer) askClaimed(w http.ResponseWriter, r *http.Request, q question, c *telemetry.Record) error {
	var failure *apierror.Error // nil, if admitting panics
	defer func() {
		if q.admission == nil {
			q.announced.Withdraw()
			q.first.Close()
			q.source.Fail(failure.Encode())
		}
	}()
	header, err := m.admitQuestion(w, r, &q)
	if err != nil {
		failure, _ = errors.AsType[*apierror.Error](err)
		return err
	}
	q.admission.Announced(q.announced)
	return m.ask(w, r, header, q, c)
}

// question is a chat whose answer is recorded.
type question struct {
	asked     chat.Chat
	id        string             // of the answer's stream
	chosen    bool               // the page chose the id, so it can come back before it has the response headers
	announced limit.Announcement // of a chosen id
	admission *limit.Admission
	source    store.Source
	first     store.Listener // of the visitor who asked
}

// admitQuestion asks the limiter to let the question in. It returns a copy of the RateLimit fields that it has added to
// the response: the exchange may outlive the response, whose own header it must not touch.
func (m *resumer) admitQuestion(w http.ResponseWriter, r *http.Request, q *question) (header http.Header, err error) {
	header = make(http.Header)
	q.admission, err = m.admit(header, r, q.asked.Assistant, q.id)
	maps.Copy(w.Header(), header)
	return header, err
}

// ask asks the upstream and records the answer for as long as any visitor wants it. The visitor who asked listens to the
// recording. header has the RateLimit fields. An error means that nothing was sent.
func (m *resumer) ask(w http.ResponseWriter, r *http.Request, header http.Header, q question, c *telemetry.Record) error {
	response := m.exchanges.listen(w, r, c, "")
	response.lag()
	c.Admitted = true
	run := newRecordedRun(q, response)
	defer run.leave()
	run.rec.Init(recording.Config{
		ID:     q.id,
		Source: q.source,
		Shared: m.store.Shared,
		Until:  response.Deadline(),
		Slot:   q.admission,
		Opens:  run.part,
		Waits:  run.part,
	})
	response.begun = func() { c.Tries, c.UpstreamStatus = run.rec.Asked() }
	// The exchange may outlive the visitor's request: keep the context's values, not its cancellation.
	ex := m.exchanges.open(context.WithoutCancel(r.Context()), &run.rec, false, q.admission, newAnswerRecord(q.asked, c.Start))
	run.rec.Attach(ex)

	ended, err := run.serve(ex)
	switch {
	case ended:
		<-run.over // so that the slot is free before the visitor can ask again
		c.Dropped, c.Cut = ex.record.Dropped, ex.record.Cut
	case response.hasFailed:
		<-run.over
		maps.Copy(w.Header(), header)
		c.Tries, c.UpstreamStatus = ex.HowAsked() // the exchange is over and no longer writes them
		watchdog.Rethrow(run.failed)
		return run.failed
	case response.IsCommitted():
	case q.chosen:
		go run.logFailure()
	default:
		<-run.over // no visitor can come back, so the exchange was canceled
		c.Tries, c.UpstreamStatus = ex.HowAsked()
		watchdog.Rethrow(run.failed)
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
