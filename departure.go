package illumichat

import (
	"errors"
	"net/http"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
)

// departure is the end of a response that the visitor did not read to its end.
type departure struct {
	output interface {
		IsCommitted() bool
		Deadline() time.Time
	}
	http3 bool
	due   *apierror.Interruption // why the stream had to end; nil: it had not
	err   error                  // why nothing more can be sent
}

// visitorLeft ends the response to a visitor who left or stopped reading. It returns an error if nothing was sent.
func (es *exchanges) visitorLeft(c *telemetry.Record, d departure) error {
	reason := d.cutOff()
	switch {
	case reason != nil && !d.output.IsCommitted():
		return reason.Before()
	case reason != nil:
		c.CutOff(reason.Code.String())
	default:
		c.Left(d.err)
	}
	switch {
	case !d.output.IsCommitted():
		return apierror.ErrVisitorGone
	case c.Cause == telemetry.CauseStalled:
		es.log.ReportChat(c, telemetry.Problem{
			Level:   zapcore.WarnLevel,
			Kind:    telemetry.CauseStalled,
			Message: "a visitor did not read the answer",
			Hint:    "raise write_timeout if the connections of your visitors are that slow",
		}, zap.NamedError("cause", d.err))
	default:
		es.log.Logger().Debug("the response ended before the end of the answer", zap.String("code", c.Cause), zap.NamedError("cause", d.err))
	}
	if d.http3 && errors.Is(d.err, apierror.ErrVisitorGone) {
		// After a failed write, HTTP/1 and HTTP/2 abort a response by themselves. HTTP/3 would end it as if it were complete,
		// and a visitor who resumes reading would take it for that.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// cutOff returns why this process or the server ended the response, or nil if the visitor did. The server ends it at its
// own deadline. A response that had to end anyway is not the visitor's fault either, unless a write took write_timeout.
func (d departure) cutOff() *apierror.Interruption {
	if deadline := d.output.Deadline(); !deadline.IsZero() && !time.Now().Before(deadline) {
		return apierror.MaxDuration
	}
	if d.due == nil || errors.Is(d.err, os.ErrDeadlineExceeded) {
		return nil
	}
	switch d.due.Code {
	case apierror.MaxDuration.Code, apierror.ShuttingDown.Code:
		return d.due
	}
	return nil
}
