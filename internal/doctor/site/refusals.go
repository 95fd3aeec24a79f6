package site

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// provoked is a request that the chat refuses for free, and how it does so.
type provoked struct {
	name    string
	request request
	status  int
	codes   []string

	// rare says that pages do not send such a request, so a matcher or a firewall may keep it from the chat.
	rare bool
}

var provokedRefusals = []provoked{
	{name: "an invalid chat", request: invalidChat, status: http.StatusBadRequest, codes: []string{codeBadRequest}},
	{
		name: "a chat that is not labelled as JSON", request: invalidChat.with("Content-Type", "text/plain"),
		status: http.StatusUnsupportedMediaType, codes: []string{codeMediaType},
	},
	{
		// Without resume it is a 405. With resume it is a 400, because it names no answer.
		name: "a GET", request: request{method: http.MethodGet}, status: http.StatusMethodNotAllowed,
		codes: []string{codeMethod, codeBadRequestStream}, rare: true,
	},
	{name: "a PUT", request: request{method: http.MethodPut}, status: http.StatusMethodNotAllowed, codes: []string{codeMethod}, rare: true},
}

// checkRefusals reports whether refusals arrive as the chat writes them.
func (c *checker) checkRefusals(ctx context.Context) (goOn bool) {
	c.report.Progress("provoking refusals")
	good := 0
	for _, p := range provokedRefusals {
		a, err := c.client.ask(ctx, c.protocol, p.request)
		if err != nil {
			c.add(p.unanswered(err))
			continue
		}
		c.resumable = c.resumable || a.isRefusal(codeBadRequestStream)
		if f, wrong := p.judge(a); wrong {
			c.add(f)
		} else {
			good++
		}
	}
	if good > 0 {
		c.ok(checkRefusals, fmt.Sprintf("%d of %d refusals arrive as the chat writes them", good, len(provokedRefusals)))
	}
	return true
}

// unanswered returns the finding that a request gets no answer.
func (p *provoked) unanswered(err error) doctor.Finding {
	f := doctor.Finding{
		Level: doctor.Wrong, Check: checkRefusals, Found: fmt.Sprintf("%s gets no answer: %s", p.name, err),
		Why: "A page cannot tell its visitor what is wrong.", Do: "Check whether a firewall in front of Caddy cuts such connections.",
	}
	if p.rare {
		f.Level, f.Why = doctor.Note, rareWhy
	}
	return f
}

// rareWhy is why it may matter that a request which pages rarely send does not reach the chat.
const rareWhy = "Pages send only POST, unless the chat has resume. Then they send GET and DELETE as well."

// judge returns a finding if an answer is not what the chat sends.
func (p *provoked) judge(a *answer) (f doctor.Finding, wrong bool) {
	f = doctor.Finding{
		Level: doctor.Wrong, Check: checkRefusals, Found: fmt.Sprintf("%s gets %s", p.name, a.describe()),
		Why: "A page reads the JSON of a refusal to tell its visitor what is wrong. It cannot read this.",
	}
	r, ok := a.refusal()
	switch {
	case !ok && p.rare:
		f.Level = doctor.Note
		f.Why = rareWhy
		f.Do = "With resume, match the chat by its path alone and not by a method."
		return f, true
	case !ok:
		f.Do = settings(inFront(a.header), func(p product) string { return p.keepErrors },
			"Find out what replaces the bodies of errors between Caddy and the visitor, such as an `intercept` for all statuses or error pages of a proxy, and keep it from the chat's path.")
		return f, true
	}
	if !slices.Contains(p.codes, r.Code) {
		f.Found = fmt.Sprintf("%s is not refused as such, but gets %s", p.name, a.describe())
		f.Why = "Something between this machine and the chat changes requests."
		f.Do = "Let proxies pass the method, Content-Type and body of a request unchanged."
		return f, true
	}
	if changed := p.changes(a, r); changed != "" {
		f.Level = doctor.Warning
		f.Found = fmt.Sprintf("the refusal of %s arrives changed: %s", p.name, changed)
		f.Why = "A cache could keep an error for other visitors, or a page could read it wrongly."
		f.Do = "Let proxies and `header` directives leave Cache-Control, Content-Type and Allow alone on the chat's path."
		return f, true
	}
	return f, false
}

// changes returns what differs from the refusal that the chat sends.
func (p *provoked) changes(a *answer, r refusal) string {
	var changes []string
	if a.status != p.status && r.Code != codeBadRequestStream {
		changes = append(changes, fmt.Sprintf("its status is %d and not %d", a.status, p.status))
	}
	if media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); media != "application/json" {
		changes = append(changes, "it is not labelled as JSON")
	}
	if !hasDirective(a.header, "no-store") {
		changes = append(changes, "its Cache-Control does not say no-store")
	}
	if r.Code == codeMethod && a.header.Get("Allow") == "" {
		changes = append(changes, "it has no Allow")
	}
	return strings.Join(changes, ", ")
}

// hasDirective reports whether Cache-Control has a directive.
func hasDirective(h http.Header, directive string) bool {
	for field := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(field), directive) {
			return true
		}
	}
	return false
}
