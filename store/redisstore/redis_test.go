package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
	"github.com/illumichat/caddy-illumichat/store/storetest"
)

// provision loads, provisions and validates a module, or returns why its config is refused.
func provision(t *testing.T, config string) (*Redis, error) {
	t.Helper()
	c := new(Redis)
	if err := caddy.StrictUnmarshalJSON([]byte(config), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := c.Provision(ctx); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// openInstance opens a store for the test's scope, as an instance of its own.
func openInstance(t *testing.T, config string) *redisStore {
	t.Helper()
	c, err := provision(t, config)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.newStore(t.Name(), newInstance())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.ctx.Err() != nil {
			return
		}
		if err := s.Destruct(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// at returns a config with the given addresses.
func at(addresses ...string) string {
	list, _ := json.Marshal(addresses)
	return fmt.Sprintf(`{"address": %s}`, list)
}

func conforms(t *testing.T, config string) {
	t.Helper()
	storetest.Run(t, func(t *testing.T) store.Store { return openInstance(t, config) })
	storetest.RunCounter(t, func(t *testing.T) store.Counter {
		s := openInstance(t, config)
		s.countTime = callTimeout // a busy machine may need more than a visitor waits
		return s
	})
}

// account are the options for the account that the documentation recommends.
var account = []string{"--user", "caddy", "on", ">secret", "~illumichat:*", "~{illumichat:*", "+@all", "-@admin", "-@dangerous"}

func TestRedis(t *testing.T) { conforms(t, at(redistest.Start(t).Socket)) }

// Valkey is a Redis to us.
func TestValkey(t *testing.T) { conforms(t, at(redistest.StartValkey(t).Socket)) }

func TestOverTLSWithAPassword(t *testing.T) {
	server, _ := redistest.StartTLS(t, append([]string{"--tls-auth-clients", "yes"}, account...)...)
	certFile, keyFile := localhost.Certificate(t)
	t.Setenv("REDIS_PASSWORD", "secret")
	conforms(t, fmt.Sprintf(`{
		"address": [%q], "username": "caddy", "password": "{env.REDIS_PASSWORD}",
		"tls": {"ca": {"provider": "file", "pem_files": [%q]}, "client_certificate_file": %[2]q, "client_certificate_key_file": %[3]q}
	}`, server.Address, certFile, keyFile))
}

func TestSentinel(t *testing.T) {
	watched := redistest.StartSentinel(t)
	conforms(t, fmt.Sprintf(`{"address": [%q], "master_name": "main", "db": 3}`, watched.Sentinel.Address))
}

func TestCluster(t *testing.T) {
	c := redistest.StartCluster(t, 2, false)
	conforms(t, at(c.Masters[0].Address, c.Masters[1].Address))
}

// A password in a file is read again for each connection.
func TestPasswordIsReplaced(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "first")
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	s := openInstance(t, fmt.Sprintf(`{"address": [%q], "password": "{file.%s}"}`, server.Socket, file))
	if err := s.link.plain().Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	write("second")
	server.Do("AUTH", "first", "\r\nCONFIG", "SET", "requirepass", "second", "\r\nCLIENT", "KILL", "TYPE", "normal")
	eventually(t, "the new password is used", func() bool { return s.link.plain().Ping(t.Context()).Err() == nil })
}

// A store whose password file does not exist yet can be opened, and works as soon as the file is there.
func TestPasswordFileComesLater(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "secret")
	file := filepath.Join(t.TempDir(), "password")
	s := openInstance(t, fmt.Sprintf(`{"address": [%q], "password": "{file.%s}"}`, server.Socket, file))
	if err := s.link.plain().Ping(t.Context()).Err(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the file, a connection gets %v", err)
	}
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the password is used", func() bool { return s.link.plain().Ping(t.Context()).Err() == nil })
}

func TestConfig(t *testing.T) {
	t.Setenv("EMPTY", "")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ config, want string }{
		"an empty placeholder":      {`{"address": ["{env.EMPTY}"]}`, "address: {env.EMPTY} is empty"},
		"an empty address":          {`{"address": [""]}`, "address: an entry is empty"},
		"a URL":                     {`{"address": ["redis://localhost"]}`, "is a URL"},
		"a user in an address":      {`{"address": ["hunter2@localhost"]}`, "address: an address holds a user"},
		"a user by placeholder":     {`{"username": "{http.auth.user.id}", "password": "p"}`, "username: {http.auth.user.id} is not supported"},
		"a user without a password": {`{"username": "caddy"}`, "username: a password is needed"},
		"no password in a file":     {`{"password": "{file.` + empty + `}"}`, "password: " + empty + " is empty"},
		"a folder as the password":  {`{"password": "{file./}"}`, "password: / is not a regular file"},
		"a negative database":       {`{"db": -1}`, "db: -1 is negative"},
		"a database of a cluster":   {`{"db": 1, "address": ["a", "b"]}`, "has only database 0"},
		"a cluster's database":      {`{"db": 1, "cluster": true}`, "has only database 0"},
		"a cluster's Sentinels":     {`{"cluster": true, "master_name": "main"}`, "a Redis Cluster has no Sentinels"},
		"a brace":                   {`{"prefix": "{x}"}`, "prefix: '{x}' holds a brace"},
		"half of a certificate":     {`{"tls": {"client_certificate_file": "x"}}`, "tls: client_certificate_file specified without"},
	} {
		_, err := provision(t, tc.config)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error prints what may be a password: %v", name, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Setenv("REDIS", "redis.internal")
	for config, want := range map[string]string{
		`{}`:                                  "localhost:6379",
		`{"master_name": "main"}`:             "localhost:26379",
		`{"address": ["{env.REDIS}"]}`:        "redis.internal:6379",
		`{"address": ["{env.REDIS}:7000"]}`:   "redis.internal:7000",
		`{"address": ["::1"]}`:                "[::1]:6379",
		`{"address": ["[::1]:7000", "a"]}`:    "[::1]:7000 a:6379",
		`{"address": ["/run/redis"]}`:         "/run/redis",
		`{"address": ["unix//run/redis"]}`:    "/run/redis",
		`{"address": ["a"], "prefix": "x"}`:   "a:6379",
		`{"address": ["a"], "tls": {}}`:       "a:6379",
		`{"address": ["a"], "db": 5}`:         "a:6379",
		`{"address": ["{env.REDIS}", "b:1"]}`: "redis.internal:6379 b:1",
	} {
		c, err := provision(t, config)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if got := strings.Join(c.addresses, " "); got != want {
			t.Errorf("%s: got %s, want %s", config, got, want)
		}
		if encrypted := strings.Contains(config, "tls"); (c.options().TLSConfig != nil) != encrypted {
			t.Errorf("%s: TLS is %v", config, !encrypted)
		}
	}
}

// If Redis comes and goes, the log says so only now and then.
func TestTroubleIsToldOnce(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	l := newLink(&Redis{addresses: []string{"localhost:1"}, logger: zap.New(core)})
	s := l.topology.seed
	for range 3 {
		s.fail(fmt.Errorf("gone"))
		s.fail(fmt.Errorf("gone"))
	}
	if !l.down("a") || logs.Len() != 1 {
		t.Errorf("it is down: %v, told: %v", l.down("a"), logs.All())
	}
	s.mend()
	s.fail(fmt.Errorf("gone"))
	if logs.FilterLevelExact(zapcore.WarnLevel).Len() != 1 {
		t.Errorf("told: %v", logs.All())
	}
}

// A listener that is still open when its store is closed does not wait any longer.
func TestListenerOfAClosedStore(t *testing.T) {
	config := at(redistest.Start(t).Socket)
	here, there := openInstance(t, config), openInstance(t, config)
	source, first := here.Create("id", store.Meta{}, store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 1 << 20, MaxTotal: 1 << 20})
	source.Open(http.Header{})
	defer source.Finish(store.Chunk{}, store.End{})
	defer first.Close()
	eventually(t, "it is found", func() bool { _, err := there.Find(t.Context(), "id"); return err == nil })
	stream, err := there.Find(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := stream.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := there.Destruct(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, err := listener.Read(); err != nil {
			if !errors.Is(err, store.ErrLost) {
				t.Errorf("got %v", err)
			}
			break
		}
		if err := listener.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nothing is looked up any more", func() bool {
		_, err := there.Find(t.Context(), "another")
		return errors.Is(err, errDown)
	})
}

func TestCaddyfile(t *testing.T) {
	c := new(Redis)
	err := c.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`redis {
		address {env.REDIS_1} redis2:7000
		cluster
		password {file./run/secrets/redis_password}
		tls {
			trust_pool file /etc/ssl/redis.pem
			client_auth /etc/ssl/caddy.pem /etc/ssl/caddy.key
		}
	}`))
	want := &Redis{
		Address:  []string{"{env.REDIS_1}", "redis2:7000"},
		Cluster:  true,
		Password: "{file./run/secrets/redis_password}",
		TLS: &reverseproxy.TLSConfig{
			CARaw:                    json.RawMessage(`{"pem_files":["/etc/ssl/redis.pem"],"provider":"file"}`),
			ClientCertificateFile:    "/etc/ssl/caddy.pem",
			ClientCertificateKeyFile: "/etc/ssl/caddy.key",
		},
	}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got %v and %+v", err, c)
	}
}

// Redis is down if it does not answer. It is not down if it refuses a command, or sends what nobody understands.
func TestWhatMeansThatRedisIsDown(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		down bool
	}{
		"nothing is wrong":   {nil, false},
		"nothing is there":   {redis.Nil, false},
		"it says no":         {reply("NOPERM"), false},
		"it is not ready":    {reply("LOADING Redis is loading the dataset in memory"), true},
		"it does not answer": {context.DeadlineExceeded, true},
		"it hangs up":        {io.EOF, true},
		"it sends a float":   {errors.New("redis: can't parse int reply: ',1.5'"), false},
	} {
		l := newLink(&Redis{addresses: []string{"localhost:1"}, logger: zap.NewNop()})
		if !isReply(tc.err) {
			l.topology.seed.note(tc.err)
		}
		if l.down("a") != tc.down {
			t.Errorf("%s: it is down: %v", name, l.down("a"))
		}
	}
}

// reply is an error reply of Redis.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}
