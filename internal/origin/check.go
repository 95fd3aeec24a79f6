package origin

import (
	"net/http"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

var errOrigin = &apierror.Error{
	Status: http.StatusForbidden, Code: apierror.CodeForbiddenOrigin,
	Text: "pages of this origin may not use this chat",
}

// Check returns an error if r comes from a page that may not use the chat.
func (p *Policy) Check(r *http.Request) error {
	asPost := *r // net/http passes every GET as safe, but here a GET keeps an answer going
	asPost.Method = http.MethodPost
	if err := p.protection.Check(&asPost); err != nil {
		return errOrigin.Because(err)
	}
	return nil
}
