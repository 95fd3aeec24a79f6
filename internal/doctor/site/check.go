package site

import (
	"context"
	"errors"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// Check reports what it finds at the chat's URL. It returns an error if an option or the URL cannot be used, and
// ErrInterrupted if ctx ends. A fault of the site is a finding and no error.
func Check(ctx context.Context, url string, options Options, report doctor.Report) error {
	target, err := parseTarget(url)
	if err != nil {
		return err
	}
	if err := options.normalize(); err != nil {
		return err
	}
	c := newChecker(target, options, report)
	defer c.client.close()
	return c.run(ctx)
}

// checker checks one site. Each step leaves in it what later steps need.
type checker struct {
	target  target
	options Options
	report  doctor.Report
	client  *client
	admin   *adminAPI // nil: it is not to be asked

	// interrupted reports whether the check was interrupted. A request that fails for that reason says nothing about the site.
	interrupted func() bool

	probes    map[protocol]*answer // to an invalid chat, by the protocols that work
	protocol  protocol             // the best that works over TCP, which all further requests use
	resumable bool                 // the chat has resume
}

func newChecker(target target, options Options, report doctor.Report) *checker {
	c := &checker{
		target: target, options: options, report: report, client: newClient(target, options.Insecure),
		interrupted: func() bool { return false },
	}
	if options.Admin != "" {
		c.admin = newAdminAPI(options.Admin)
	}
	return c
}

// ErrInterrupted is the error of a check whose context ends. The findings so far have been reported.
var ErrInterrupted = errors.New("the check was interrupted, so the findings are not complete")

// run takes the steps in order. A step returns false if the later ones have nothing to check.
func (c *checker) run(ctx context.Context) error {
	c.interrupted = func() bool { return ctx.Err() != nil }
	for _, step := range []func(context.Context) (goOn bool){
		c.checkConnection,
		c.checkHandler,
		c.checkRefusals,
		c.checkOrigins,
		c.checkChats,
	} {
		goOn := step(ctx)
		if c.interrupted() {
			return ErrInterrupted
		}
		if !goOn {
			break
		}
	}
	c.reportToken()
	return nil
}

// add reports a finding about the site.
func (c *checker) add(f doctor.Finding) {
	if c.interrupted() {
		return
	}
	f.Where = c.target.String()
	c.report.Add(f)
}

// ok reports that a check has found nothing wrong.
func (c *checker) ok(check, found string) {
	c.add(doctor.Finding{Level: doctor.OK, Check: check, Found: found})
}

// skip reports that something could not be checked.
func (c *checker) skip(check, found, do string) {
	c.add(doctor.Finding{Level: doctor.Skipped, Check: check, Found: found, Do: do})
}
