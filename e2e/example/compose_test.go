package example

import (
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// composeFile has the keys of a compose.yaml that the example uses.
type composeFile struct {
	Services map[string]composeService
	Networks map[string]struct {
		Internal   bool
		EnableIPv6 bool `yaml:"enable_ipv6"`
	}
	Volumes map[string]struct{}
}

type composeService struct {
	Build, Image, Restart string
	StopGracePeriod       time.Duration `yaml:"stop_grace_period"`
	CapAdd                []string      `yaml:"cap_add"`
	DependsOn             []string      `yaml:"depends_on"`
	Ports                 []string
	Volumes               []string
	Networks              []string
	Command               []string
}

// readCompose returns the services of Caddy and of Redis, and the whole file.
func readCompose(t *testing.T) (caddy, redis composeService, whole composeFile) {
	t.Helper()
	decodeYAML(t, sitetest.ReadExample(t, composeYAML), &whole)
	for _, name := range []string{"caddy", "redis"} {
		if _, ok := whole.Services[name]; !ok || len(whole.Services) != 2 {
			t.Fatalf("the services are not caddy and redis: %v", whole.Services)
		}
	}
	return whole.Services["caddy"], whole.Services["redis"], whole
}

const (
	composeYAML      = "compose/compose.yaml"
	composeCaddyfile = "compose/conf/Caddyfile"
)

// What compose.yaml gives to Caddy's container is what the Caddyfile expects there.
func TestComposeFitsTheCaddyfile(t *testing.T) {
	caddy, redis, whole := readCompose(t)
	caddyfile := sitetest.ReadExample(t, composeCaddyfile)

	if grace := duration(t, caddyfile, "grace_period"); caddy.StopGracePeriod < grace+time.Second {
		t.Errorf("Docker stops Caddy after %s, and its grace period is %s", caddy.StopGracePeriod, grace)
	}
	if want := []string{"80:80", "443:443", "443:443/udp"}; !slices.Equal(caddy.Ports, want) {
		t.Errorf("the ports are %q, want %q", caddy.Ports, want)
	}

	mounted := make(map[string]string) // sources by target
	for _, volume := range caddy.Volumes {
		source, target, _ := strings.Cut(volume, ":")
		target, mode, _ := strings.Cut(target, ":")
		mounted[target] = source
		if _, ok := whole.Volumes[source]; ok {
			continue
		}
		// A container keeps the old one of a single file that an editor replaces.
		if info, err := os.Stat(path.Join("example/compose", source)); err != nil || !info.IsDir() || !strings.HasPrefix(source, ".") {
			t.Errorf("%s is neither a volume nor a folder: %v", source, err)
		}
		if mode != "ro" {
			t.Errorf("Caddy can write to %s", source)
		}
	}
	// The image reads /etc/caddy/Caddyfile, and stores in /data and /config.
	if path.Join("compose", mounted["/etc/caddy"]) != path.Dir(composeCaddyfile) || mounted["/data"] == "" || mounted["/config"] == "" {
		t.Errorf("the mounts are %v", mounted)
	}

	// The token's file is where the header says. It must not get into a repository or an image.
	token := strings.TrimSuffix(strings.TrimPrefix(option(t, caddyfile, "token"), "{file."), "}")
	folder := strings.TrimPrefix(mounted[path.Dir(token)], "./")
	if file := path.Join(folder, path.Base(token)); folder == "" || !strings.Contains(header(t, composeYAML), "into the file "+file+",") {
		t.Errorf("Caddy reads the token from %s, and compose.yaml does not say to write it into %q", token, file)
	}
	if ignored := sitetest.ReadExample(t, path.Join("compose", folder, ".gitignore")); !strings.HasSuffix(ignored, "\n*\n!.gitignore\n") {
		t.Errorf("git does not ignore the token: %q", ignored)
	}
	if ignored := sitetest.ReadExample(t, "compose/.dockerignore"); !strings.HasSuffix(ignored, "\n*\n") {
		t.Errorf("Docker does not ignore the token when it builds the image: %q", ignored)
	}

	// Only Caddy reaches Redis.
	host, port, _ := strings.Cut(option(t, caddyfile, "address"), ":")
	if _, ok := whole.Services[host]; !ok || host != "redis" || port != "6379" {
		t.Errorf("the Caddyfile's Redis is %s:%s", host, port)
	}
	if len(redis.Networks) != 1 || !slices.Contains(caddy.Networks, redis.Networks[0]) || !whole.Networks[redis.Networks[0]].Internal || len(redis.Ports) > 0 {
		t.Errorf("Redis is in the networks %q, of %v, with the ports %q", redis.Networks, whole.Networks, redis.Ports)
	}
	if !slices.Contains(caddy.Networks, "default") || whole.Networks["default"].Internal {
		t.Error("Caddy does not reach the internet")
	}
	// Otherwise all visitors with IPv6 have the address of Docker's proxy.
	if !whole.Networks["default"].EnableIPv6 {
		t.Error("Caddy has no IPv6")
	}
	if !slices.Equal(caddy.DependsOn, []string{"redis"}) {
		t.Errorf("Caddy does not stop before Redis, but depends on %q", caddy.DependsOn)
	}

	wantCheckOfURL(t, composeYAML, "https://example.com"+sitetest.ChatPath)
	if !strings.Contains(caddyfile, "\nexample.com {\n") || !strings.Contains(caddyfile, "\tillumichat "+sitetest.ChatPath+" {\n") {
		t.Error("the Caddyfile has another site or path than the check in compose.yaml")
	}
}

// The image is that of the Dockerfile at the top, with the store of Redis.
func TestComposeBuildsCaddyWithRedis(t *testing.T) {
	caddy, _, _ := readCompose(t)
	top, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(top), "\n\n")
	// Without a version of its own, the second package would take the module to its newest release.
	const module, version = "--with github.com/illumichat/caddy-illumichat", "@${ILLUMICHAT_VERSION}"
	want = replaceEach(t, want, module+version, module+version+" "+module+"/store/redisstore"+version)
	_, got, _ := strings.Cut(sitetest.ReadExample(t, path.Join("compose", caddy.Build, "Dockerfile")), "\n\n")
	if got != want {
		t.Errorf("the Dockerfile is %q, want %q", got, want)
	}
}

// The site of the Compose example serves its page and chats. What Redis keeps survives a new container.
func TestExampleOfCompose(t *testing.T) {
	const site = "https://localhost:8443"
	_, redis, _ := readCompose(t)
	server := redistest.Start(t, redis.Command[1:]...)
	token := secretFile(t, sandbox.Token)
	run := func() *sitetest.RunningExample {
		e := sitetest.RunDeployed(t, composeCaddyfile, sandbox.Options{}, func(text string) string {
			return replaceEach(t, toSandbox(t, text, token),
				"address redis:6379", "address "+server.Socket,
				"\nexample.com {", "\n"+site+" {",
				"\tgrace_period", "\thttp_port 8880\n\tskip_install_trust\n\tgrace_period",
			)
		})
		sitetest.Eventually(t, "the site has its certificate", func() bool {
			resp, err := sitetest.Loopback.RoundTrip(e.Request(t, http.MethodGet, site+"/", ""))
			if err == nil {
				resp.Body.Close()
			}
			return err == nil
		})
		return e
	}

	first := run()
	first.WantPage(t, site+"/", sitetest.ChatPath)
	first.WantLimits(t, "5/30s 20/1h 2000/24h:everyone, 200 open, 3 a client")
	// Nothing is in front of Caddy, so nobody can claim an address.
	chat := first.Chat(t, site, sitetest.Anyone, "X-Forwarded-For: 203.0.113.7")
	wantLeft(t, chat, 19)
	sitetest.WantAnswer(t, chat)
	first.Exit(t)
	first.Wait(t)

	second := run()
	wantContinued(t, chat, second, site+sitetest.ChatPath)
	chat = second.Chat(t, site, sitetest.Anyone)
	wantLeft(t, chat, 18)
	sitetest.WantAnswer(t, chat)
}
