package sandbox

import (
	"fmt"
	"strings"
)

// The commands that give the token away.

func echoToken(x *reply, a args) {
	x.send(x.first(a.n)...)
	x.send(textDelta("Somebody told me this: %s. ", x.token()), x.finish("stop"))
}

func echoTokenHeader(x *reply, _ args) {
	x.w.Header().Set("X-Token", x.token())
	x.send(x.answer("stop")...)
}

func echoTokenError(x *reply, _ args) {
	e := badRequest(fmt.Sprintf("The request with %s is not valid.", x.token()), nil)
	x.respond(e.status, "application/json", e.body())
}

func echoTokenJSON(x *reply, _ args) {
	x.respondJSON(map[string]string{"text": x.token()})
}

// token is the bearer token that the request came with.
func (x *reply) token() string {
	return strings.TrimPrefix(x.r.Header.Get("Authorization"), "Bearer ")
}
