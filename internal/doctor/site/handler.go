package site

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// checkHandler reports whether the chat answers, or something in front of it. If it does not, there is nothing else to
// check.
func (c *checker) checkHandler(context.Context) (goOn bool) {
	a := c.probes[c.protocol]
	if !a.isRefusal(codeBadRequest) {
		f := c.explain(a)
		f.Check = checkHandler
		c.add(f)
		return false
	}
	var reached []string
	for _, p := range []protocol{http1Protocol, http2Protocol, http3Protocol} {
		switch other := c.probes[p]; {
		case other == nil:
		case other.isRefusal(codeBadRequest):
			reached = append(reached, other.proto.String())
		default:
			c.add(doctor.Finding{
				Level: doctor.Wrong, Check: checkHandler, Found: fmt.Sprintf("over %s, something other than the chat answers: %s", p, other.describe()),
				Why: "Browsers choose the version of HTTP by themselves, so the chat fails for some visitors.",
				Do:  "Serve the same site over all versions of HTTP that the server offers.",
			})
		}
	}
	c.ok(checkHandler, "the chat answers over "+strings.Join(reached, ", "))
	return true
}

// explain returns a finding about an answer that should be the chat's refusal of an invalid chat, and is not.
func (c *checker) explain(a *answer) doctor.Finding {
	f := doctor.Finding{Level: doctor.Wrong, Why: "A page that posts its chats here gets no answer."}
	if r, ok := a.refusal(); ok {
		f.Found = fmt.Sprintf("the chat answers an invalid chat with %d %s (%s), and not with 400 %s", a.status, r.Code, printable(r.Error), codeBadRequest)
		f.Do = "Check whether a proxy changes the method, the Content-Type or the body of requests. After a 503, check again in a moment."
		return f
	}
	f.Found = "something other than the chat answers: " + a.describe()
	switch {
	case a.status >= 300 && a.status < 400:
		c.explainRedirect(&f, a)
	case a.status == http.StatusUnauthorized, a.status == http.StatusProxyAuthRequired:
		f.Level = doctor.Warning
		f.Found = fmt.Sprintf("a login in front of the chat asks for a password (%d from %s)", a.status, a.sender())
		f.Why = "Only visitors who are logged in can chat, and this command cannot log in, so it checks nothing else."
		f.Do = "If the chat is for everybody, exclude its path from basic_auth or forward_auth with a matcher."
	case c.target.url.Path == "/" && (a.status < 300 || a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed):
		f.Do = "The URL has no path: write the one that the page posts to, such as " + exampleURL + "."
	case a.status == http.StatusForbidden:
		f.Do = "Let the firewall or the bot check in front of Caddy pass requests to the chat's path."
	case a.status == http.StatusNotFound:
		f.Do = compareMatcher + "\n" + useConfigCheck
	case a.status < 300 && a.body == "": // Caddy sends an empty 200 if no directive answers
		f.Do = compareMatcher + "\nCaddy also sends an empty 200 for a host that none of its sites has. So compare the host with the site's address: " +
			"localhost is not 127.0.0.1, and www.example.com is not example.com.\n" + useConfigCheck
	case a.status == http.StatusMethodNotAllowed:
		f.Do = "A file server or an app gets the request, as it does after try_files. Give the chat a `handle` block of its own.\n" + useConfigCheck
	case a.status < 300:
		f.Do = "An app, a `respond` or a page that is served for each path takes the request. Give the chat a `handle` block of its own.\n" + useConfigCheck
	case a.status >= 520 && a.status <= 530 && a.sender() == "Cloudflare":
		f.Do = fmt.Sprintf("Cloudflare cannot reach your server. Look up error %d in its documentation.", a.status)
	case a.status == http.StatusBadGateway, a.status == http.StatusServiceUnavailable, a.status == http.StatusGatewayTimeout:
		f.Do = fmt.Sprintf("See in the log of %s why it does not reach the Caddy with the chat.", a.sender())
	case a.status >= 400 && a.status < 500 && len(inFront(a.header)) > 0:
		c.explainReplaced(&f, a)
	default:
		f.Do = "Find out which server sends this answer, and let it pass requests to Caddy.\n" + useConfigCheck
	}
	return f
}

// explainReplaced completes a finding about an error of a proxy, which may have replaced the chat's.
func (c *checker) explainReplaced(f *doctor.Finding, a *answer) {
	f.Found = a.describe() + " arrives instead of the chat's refusal"
	f.Do = fmt.Sprintf("%s may replace the chat's errors by pages of its own. ", a.sender()) +
		settings(inFront(a.header), func(p product) string { return p.keepErrors }, "Turn these off for the chat's path.") +
		"\nIf it does not replace them, let it pass requests to Caddy."
}

// compareMatcher is advice for a URL that may be another than the chat's.
const compareMatcher = "Compare the URL with the matcher of illumichat, letter by letter: a slash at the end counts, and handle_path removes its prefix."

// useConfigCheck is advice for a request that does not reach the chat.
const useConfigCheck = "`caddy illumichat check --config <file>` finds what takes the chat away."

// explainRedirect completes a finding about a redirect.
func (c *checker) explainRedirect(f *doctor.Finding, a *answer) {
	to, err := url.Parse(a.header.Get("Location"))
	here := c.target.url
	if err != nil || a.header.Get("Location") == "" {
		f.Do = "Find out which directive or server redirects the request, and keep it from the chat's path."
		return
	}
	to = here.ResolveReference(to)
	switch {
	case to.Hostname() == here.Hostname() && to.Scheme == "https" && here.Scheme == "http":
		f.Found = fmt.Sprintf("plain HTTP is redirected to https (%d)", a.status)
		f.Why = "Browsers send a POST again only after a 307 or 308, and turn it into a GET after a 301 or 302. Either way each chat takes longer."
		f.Do = "Let the page send its chats to https, and check that URL."
	case to.Host == here.Host && to.Path == here.Path+"/", to.Host == here.Host && to.Path+"/" == here.Path:
		f.Found = fmt.Sprintf("the site redirects to the same path with or without a slash at the end (%d)", a.status)
		f.Do = "Let the page use the path of the matcher exactly, or match both: @chat path /api/chat-proxy /api/chat-proxy/"
	case to.Host != here.Host:
		f.Found = fmt.Sprintf("the site redirects to another host (%d)", a.status)
		f.Do = "If that is the site's real name, check the chat there. If it is a login, keep it from the chat's path, or let the page log in first."
	default:
		f.Found = fmt.Sprintf("the site redirects to another path (%d)", a.status)
		f.Do = "If that is a login, exclude the chat's path from it with a matcher. If it is a page, give the chat a `handle` block of its own."
	}
}
