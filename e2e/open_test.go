package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/caddyserver/caddy/v2"
)

// openExchangeCount returns the gauge of open streams from the running config's metrics.
func openExchangeCount() int {
	active := caddy.ActiveContext()
	families, err := active.GetMetricsRegistry().Gather()
	if err != nil {
		panic(err)
	}
	for _, family := range families {
		if family.GetName() == "caddy_illumichat_streams" {
			return int(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	panic("the running config has no gauge of open streams")
}

// takenSlots returns how many slots are taken, as the admin API lists them. Handlers with the same endpoint and token
// share their slots, so those count once. It returns -1 if the numbers of chats and clients contradict each other.
func takenSlots() int {
	type state struct{ endpoint, token string }
	taken := make(map[state]int)
	for _, handler := range adminStatus() {
		open := handler.Streams.Open
		if (open == 0) != (handler.Streams.Clients == 0) {
			return -1
		}
		taken[state{handler.Endpoint, handler.Token}] = open
	}
	sum := 0
	for _, open := range taken {
		sum += open
	}
	return sum
}

// adminStatus calls the admin API's handler within the process, because most tests' Caddys serve no admin API.
func adminStatus() []listedHandler {
	info, err := caddy.GetModule("admin.api.illumichat")
	if err != nil {
		panic(err)
	}
	route := info.New().(caddy.AdminRouter).Routes()[0]
	w := httptest.NewRecorder()
	if err := route.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, route.Pattern, nil)); err != nil {
		panic(err)
	}
	var list []listedHandler
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		panic(fmt.Sprintf("%v: %s", err, w.Body))
	}
	return list
}
