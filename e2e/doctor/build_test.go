package doctor

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// A build without the package of the Redis store says how to build Caddy with it. The other suites' binaries have the
// package.
func TestBuildWithoutRedis(t *testing.T) {
	const want = "this build of Caddy has no redis store; build Caddy with xcaddy build --with github.com/illumichat/caddy-illumichat/store/redisstore"
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(`:80 {
		illumichat /chat {
			token {env.ILLUMICHAT_API_TOKEN}
			assistants asst_1
			store redis
		}
	}`), nil)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a Caddyfile: got %v", err)
	}
	t.Setenv("ILLUMICHAT_API_TOKEN", "ic_sandbox000000000000000000000000000000000")
	err = sitetest.Validate(t, []byte(`{"apps": {"http": {"servers": {"srv0": {"routes": [{"handle": [
		{"handler": "illumichat", "token": "{env.ILLUMICHAT_API_TOKEN}", "assistants": ["asst_1"], "store": {"module": "redis"}}
	]}]}}}}}`))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("JSON: got %v", err)
	}
}
