package illumichat

import (
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

func TestLimitKeys(t *testing.T) {
	for _, key := range []string{
		"site", "everyone", "members", "all-visitors", "nobody", "Ü", "{http.auth.user.id}", "{http.request.header.X-Key}", "u:{http.auth.user.id}",
		"{http.vars.client_ip} {http.request.host}", "{http.nonsense}", "site_a/{http.request.host}",
	} {
		if err := checkKey(key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	for key, instead := range map[string]string{
		"client": "leave the key out", "Client": "leave the key out", "IP": "leave the key out", "ip": "leave the key out", "visitor": "leave the key out",
		"visitors": "leave the key out", "client_ip": "leave the key out", "Client-IP": "leave the key out", "remote_host": "leave the key out",
		"REMOTE_HOST": "leave the key out", "remote-host": "leave the key out", "user": "{http.auth.user.id}", "User-ID": "{http.auth.user.id}",
		"user_id": "{http.auth.user.id}", "http.auth.user.id": "{http.auth.user.id}", "http.request.header.X-Key": "{http.request.header.X-Key}",
		"192.0.2.1": "leave the key out", "site_a": "everyone", "a/b": "everyone", "$remote_addr": "leave the key out",
		"{client_ip": "brace", "client_ip}": "brace", "{}": "{name}", "{a b}": "{name}", "{{http.auth.user.id}}": "{name}", sandbox.Token: "token",
		"per-client": "leave the key out", "per-user": "{http.auth.user.id}", "$client": "leave the key out", "{time.now}": "leave it out",
	} {
		err := checkKey(key)
		if err == nil || !strings.Contains(err.Error(), instead) {
			t.Errorf("%s: got %v, want %q in the error", key, err, instead)
		}
		if err != nil && strings.Contains(err.Error(), sandbox.Token) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
}

func TestOwners(t *testing.T) {
	for _, owner := range []string{"{http.auth.user.id}", "u:{http.auth.user.id}", "{http.request.cookie.session}{http.vars.tenant}", "{env.SITE}/{http.auth.user.id}"} {
		if err := checkOwner(owner); err != nil {
			t.Errorf("%s: %v", owner, err)
		}
	}
	for owner, reason := range map[string]string{
		"http.auth.user.id": "no placeholder", "me": "no placeholder", `\{http.auth.user.id\}`: "no placeholder", "{http.auth.user.id": "brace", "{}": "{name}",
		"{env.USER}": "same for all visitors", "{file./owner}": "same for all visitors", "{system.hostname}": "same for all visitors",
		sandbox.Token: "no placeholder",
	} {
		if err := checkOwner(owner); err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), sandbox.Token) {
			t.Errorf("%s: got %v, want %q in the error", owner, err, reason)
		}
	}
}
