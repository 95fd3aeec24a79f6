package e2e

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/chat/chattest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// A hostile body is refused, or the fields that reach the upstream decode to what the visitor sent.
func TestHostileBodiesAtTheFrontDoor(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "pass_fields model"))
	for _, row := range chattest.Hostile(200_000) {
		t.Run(row.Name, func(t *testing.T) {
			resp := s.Ask(row.Body)
			asked := upstream.Take()
			if row.Status != 0 {
				sitetest.WantError(t, resp, row.Status, chattest.Codes[row.Status])
				if len(asked) != 0 {
					t.Error("the upstream was asked")
				}
				return
			}
			if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
				t.Fatalf("got status %d: %s", resp.StatusCode, body)
			}
			if asked = append(asked, upstream.Take()...); len(asked) != 1 {
				t.Fatalf("the upstream was asked %d times", len(asked))
			}
			want, _ := chattest.DecodeObject([]byte(row.Body))
			got, _ := chattest.DecodeObject([]byte(asked[0].Body))
			for _, name := range []string{"messages", "model"} {
				if !reflect.DeepEqual(got[name], want[name]) {
					t.Errorf("the %s are not what was sent", name)
				}
			}
			if len(got) > 3 {
				t.Errorf("the upstream got %d fields", len(got))
			}
		})
	}
}
