package sandbox

import (
	"encoding/json"
	"net/http"
)

// The commands whose answer is no event stream.

const page = "<!doctype html>\n<title>Sandbox</title>\n<p>This is a page, not a chat.</p>\n"

func someStatus(x *reply, a args) {
	if a.text != "" {
		x.w.Header().Set("Retry-After", a.text)
	}
	if e, ok := documentedErrors[a.n]; ok {
		x.respond(a.n, "application/json", e.body())
		return
	}
	x.respond(a.n, "text/html; charset=utf-8", []byte(page))
}

func jsonObject(x *reply, _ args) {
	x.respondJSON(map[string]string{"text": "The whole answer at once.", "chatId": x.chat.id})
}

func htmlPage(x *reply, _ args) {
	x.respond(http.StatusOK, "text/html; charset=utf-8", []byte(page))
}

func redirect(x *reply, a args) {
	location := a.text
	if location == "" {
		location = "https://elsewhere.invalid/api/chat"
	}
	x.w.Header().Set("Location", location)
	x.respond(http.StatusFound, "text/html; charset=utf-8", []byte(page))
}

func noContent(x *reply, _ args) {
	x.respond(http.StatusNoContent, "", nil)
}

func (x *reply) respondJSON(object map[string]string) {
	body, _ := json.Marshal(object) // strings always marshal
	x.respond(http.StatusOK, "application/json", body)
}
