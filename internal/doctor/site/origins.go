package site

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// foreignOrigin is the origin of a page that no site allows. The name cannot exist (RFC 6761, § 6.4).
const foreignOrigin = "https://illumichat-check.invalid"

// checkOrigins reports which pages may use the chat. No request has a valid chat, so one that is accepted costs nothing.
func (c *checker) checkOrigins(ctx context.Context) (goOn bool) {
	c.report.Progress("asking as pages of several origins")
	for _, check := range []struct {
		name string
		run  func(context.Context) error
	}{
		{checkOwnPage, c.checkOwnPage}, {checkForeignPage, c.checkForeignPage}, {checkForm, c.checkForm}, {checkTextPlain, c.checkTextPlain}, {checkAllowedPage, c.checkAllowedPage},
	} {
		if err := check.run(ctx); err != nil {
			c.add(doctor.Finding{
				Level: doctor.Wrong, Check: check.name, Found: "the request gets no answer: " + err.Error(),
				Why: "Browsers send such requests.", Do: "Check whether a firewall in front of Caddy cuts such connections.",
			})
		}
	}
	return true
}

// fromPage returns an invalid chat as a page of an origin sends it. site is the browser's Sec-Fetch-Site; "" means that the
// browser sends none.
func fromPage(origin, site string) request {
	r := invalidChat.with("Origin", origin)
	if site == "" {
		return r
	}
	return r.with("Sec-Fetch-Site", site, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty")
}

// checkOwnPage reports whether the site's own pages may use the chat, in browsers with and without Sec-Fetch-Site.
func (c *checker) checkOwnPage(ctx context.Context) error {
	modern, err := c.client.ask(ctx, c.protocol, fromPage(c.target.origin, "same-origin"))
	if err != nil {
		return err
	}
	old, err := c.client.ask(ctx, c.protocol, fromPage(c.target.origin, ""))
	if err != nil {
		return err
	}
	switch {
	case !modern.isRefusal(codeBadRequest):
		c.add(doctor.Finding{
			Level: doctor.Wrong, Check: checkOwnPage, Found: fmt.Sprintf("a page of %s itself is refused: %s", c.target.origin, modern.describe()),
			Why: "The site's own pages cannot chat.", Do: "Let proxies pass Origin and Sec-Fetch-Site unchanged.\n" + c.keepHost(modern),
		})
	case !old.isRefusal(codeBadRequest):
		f := doctor.Finding{
			Level: doctor.Warning, Check: checkOwnPage,
			Found: "a page of the site itself is refused if the browser sends no Sec-Fetch-Site: " + old.describe(),
			Why:   "Some browsers from before 2023, such as Safari before 16.4, send none. For them, Origin and Host must name the same host, and a proxy seems to rewrite Host.",
			Do:    c.keepHost(old),
		}
		if !c.target.isSecure() {
			f.Level = doctor.Wrong
			f.Why = "Browsers send none to a site on plain HTTP. Then Origin and Host must name the same host, and a proxy seems to rewrite Host."
		}
		c.add(f)
	default:
		c.ok(checkOwnPage, "pages of "+c.target.origin+" may use the chat")
	}
	return nil
}

// keepHost returns how to make the chat recognize the site's own pages.
func (c *checker) keepHost(a *answer) string {
	return settings(inFront(a.header), func(p product) string { return p.keepHost }, "Let the proxy in front of Caddy keep Host.") +
		"\nOr let it send X-Forwarded-Host, and list its address in trusted_proxies. Or write: allow_origins " + c.target.origin
}

// checkForeignPage reports whether a page of another origin is refused.
func (c *checker) checkForeignPage(ctx context.Context) error {
	for _, site := range []string{"cross-site", ""} {
		a, err := c.client.ask(ctx, c.protocol, fromPage(foreignOrigin, site))
		if err != nil {
			return err
		}
		if !a.isRefusal(codeOrigin) {
			f := doctor.Finding{
				Level: doctor.Wrong, Check: checkForeignPage, Found: fmt.Sprintf("a page of another origin is not refused as such, but gets %s", a.describe()),
				Why: "Any page of the web can make its visitors' browsers spend your quota.",
				Do:  "Let proxies pass Origin and Sec-Fetch-Site unchanged, and do not remove them with request_header.",
			}
			if !a.isRefusal(codeBadRequest) {
				f.Level, f.Why, f.Do = doctor.Note, "Something in front of the chat answers. It does not accept the request, either.", ""
			}
			c.add(f)
			return nil
		}
		if shared := a.header.Values("Access-Control-Allow-Origin"); len(shared) > 0 {
			c.add(doctor.Finding{
				Level: doctor.Note, Check: checkForeignPage,
				Found: "the refusal has an Access-Control-Allow-Origin, which the chat does not send to this origin",
				Why:   "A site-wide `header` directive or a proxy adds it. Pages of other origins can read the refusal, but still not chat.",
			})
			return nil
		}
	}
	c.ok(checkForeignPage, "a page of another origin is refused")
	return nil
}

// refusedForeign reports whether a request of a page of another origin is refused. A browser sends it without asking first.
func (c *checker) refusedForeign(ctx context.Context, check, what string, r request) error {
	a, err := c.client.ask(ctx, c.protocol, r)
	if err != nil {
		return err
	}
	if a.isRefusal(codeOrigin) || a.isRefusal(codeMediaType) {
		c.ok(check, what+" of another origin is refused")
		return nil
	}
	f := doctor.Finding{
		Level: doctor.Wrong, Check: check, Found: fmt.Sprintf("%s of another origin is not refused, but gets %s", what, a.describe()),
		Why: "A browser sends it without a preflight, so any page of the web can spend your quota.",
		Do:  "Let proxies pass Content-Type, Origin and Sec-Fetch-Site unchanged.",
	}
	if _, ours := a.refusal(); !ours {
		f.Level, f.Why, f.Do = doctor.Note, "Something in front of the chat answers. It does not accept the request, either.", ""
	}
	c.add(f)
	return nil
}

func (c *checker) checkForm(ctx context.Context) error {
	r := fromPage(foreignOrigin, "cross-site").with("Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	r.body = "messages=1"
	return c.refusedForeign(ctx, checkForm, "a form", r)
}

func (c *checker) checkTextPlain(ctx context.Context) error {
	return c.refusedForeign(ctx, checkTextPlain, "a text/plain request", fromPage(foreignOrigin, "cross-site").with("Content-Type", "text/plain;charset=UTF-8"))
}

// checkAllowedPage reports whether a page of the origin that the operator named may use the chat and read its answers.
func (c *checker) checkAllowedPage(ctx context.Context) error {
	origin := c.options.Origin
	if origin == "" {
		return nil
	}
	preflight, err := c.client.ask(ctx, c.protocol, request{method: http.MethodOptions, header: map[string]string{
		"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type",
	}})
	if err != nil {
		return err
	}
	a, err := c.client.ask(ctx, c.protocol, fromPage(origin, "cross-site"))
	if err != nil {
		return err
	}
	f := doctor.Finding{Level: doctor.Wrong, Check: checkAllowedPage, Why: "Browsers do not let pages of this origin use the chat."}
	switch {
	case a.isRefusal(codeOrigin):
		f.Found = "pages of " + origin + " are refused"
		f.Do = "Write in the block of illumichat: allow_origins " + origin
	case !a.isRefusal(codeBadRequest):
		f.Found = fmt.Sprintf("a page of %s gets %s", origin, a.describe())
		f.Do = "Let proxies pass requests with an Origin to the chat unchanged."
	case preflight.status != http.StatusNoContent && preflight.status != http.StatusOK:
		f.Found = fmt.Sprintf("the preflight of a page of %s gets %s", origin, preflight.describe())
		f.Do = "A login or a proxy answers before the chat. Let it pass OPTIONS requests to the chat."
	default:
		f.Found, f.Do = unshared(origin, "the preflight", preflight.header)
		if f.Found == "" {
			f.Found, f.Do = unshared(origin, "the answer", a.header)
		}
		if f.Found == "" && !allowsJSON(preflight.header) {
			f.Found = "the preflight does not allow a POST with Content-Type"
			f.Do = "Let the chat set the Access-Control-* headers: remove them from `header` directives and proxies on its path."
		}
	}
	if f.Found == "" {
		c.ok(checkAllowedPage, "pages of "+origin+" may use the chat and read its answers")
		return nil
	}
	c.add(f)
	return nil
}

// unshared returns why a browser does not let pages of an origin read a response, and what to do. It returns "" if the browser
// does.
func unshared(origin, what string, h http.Header) (found, do string) {
	const only = "Let the chat alone set Access-Control-Allow-Origin: remove it from `header` directives and proxies on its path."
	switch got := h.Values("Access-Control-Allow-Origin"); {
	case len(got) == 0:
		return what + " has no Access-Control-Allow-Origin", "Let proxies pass the chat's Access-Control-* headers."
	case len(got) > 1, strings.Contains(got[0], ","):
		return what + " has more than one Access-Control-Allow-Origin", only
	case got[0] != origin && got[0] != "*":
		return what + " has an Access-Control-Allow-Origin for another origin", only
	}
	return "", ""
}

// allowsJSON reports whether a preflight's answer allows a POST of JSON. POST itself needs no permission (Fetch Standard,
// § 2.2.1).
func allowsJSON(h http.Header) bool {
	headers := strings.Split(strings.Join(h.Values("Access-Control-Allow-Headers"), ","), ",")
	return slices.ContainsFunc(headers, func(name string) bool {
		name = strings.TrimSpace(name)
		return name == "*" || strings.EqualFold(name, "Content-Type")
	})
}
