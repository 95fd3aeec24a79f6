package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/store"
)

func init() {
	caddy.RegisterModule(new(Redis))
}

// The defaults of fields that the operator left out.
const (
	defaultAddress      = "localhost"
	defaultPort         = "6379"
	defaultSentinelPort = "26379"
	defaultPrefix       = "illumichat"
)

// maxPasswordLength is the maximum length of a password in bytes.
const maxPasswordLength = 4096

// Redis keeps answers in Redis 6.2 or newer, so that visitors can continue them at any instance. Any other server works
// that supports Redis's protocol, streams and scripts. The instances also share the counts of `limit` and
// `max_streams_per_client`, and a cool-down. While Redis cannot be reached, answers can be resumed only at the instance
// that writes them. Each instance then counts for itself.
type Redis struct {
	// The addresses of Redis: `host:port`, or the path of a Unix socket. With a `master_name`, they are the addresses of
	// Sentinels; without one, several addresses are the nodes of a Redis Cluster. They may contain `{env.*}` and `{file.*}`
	// placeholders. Default: `localhost:6379`, and for Sentinels `localhost:26379`. An address without a port has that
	// default port.
	Address []string `json:"address,omitempty"`

	// The name under which the Sentinels know the master. Default: none, so no Sentinels are used.
	MasterName string `json:"master_name,omitempty"`

	// Whether the server is a Redis Cluster. Several addresses without a `master_name` always mean one. With one address,
	// such as that of a managed Redis, the module notices a Redis Cluster by itself. With this option, any other server is
	// an error. Default: false.
	Cluster bool `json:"cluster,omitempty"`

	// The user to log in as. It may contain placeholders, and needs a `password`. Default: Redis's own default user.
	Username string `json:"username,omitempty"`

	// The password to log in with. It should be a placeholder, `{env.NAME}` or `{file.PATH}`. A literal password is
	// visible in the config, and Caddy warns about it. A value that is exactly one `{file.PATH}` is read again for each
	// connection, so a rotated secret needs no reload. Default: none.
	Password string `json:"password,omitempty"`

	// The number of the database. A Redis Cluster has only database 0. Default: 0.
	DB int `json:"db,omitempty"`

	// How to encrypt connections: an object like that of `reverse_proxy`'s transport. An empty object means TLS with
	// the usual settings. Default: connections are not encrypted.
	TLS *reverseproxy.TLSConfig `json:"tls,omitempty"`

	// The prefix of the names of all keys. Instances with the same prefix, endpoint and token share what they keep.
	// Default: `illumichat`.
	Prefix string `json:"prefix,omitempty"`

	logger    *zap.Logger
	addresses []string
	username  string
	password  password
	tls       *tls.Config
	print     string // of the config as it was loaded
}

// CaddyModule returns the Caddy module information.
func (*Redis) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.illumichat.stores.redis",
		New: func() caddy.Module { return new(Redis) },
	}
}

// Provision fills in defaults, resolves placeholders and registers metrics. Redis need not be running yet.
func (c *Redis) Provision(ctx caddy.Context) error {
	c.logger = ctx.Logger()
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if len(c.Address) == 0 {
		c.Address = []string{defaultAddress}
	}
	for _, configured := range c.Address {
		address, err := c.resolveAddress(configured)
		if err != nil {
			return fmt.Errorf("address: %w", err)
		}
		c.addresses = append(c.addresses, address)
	}
	var err error
	if c.username, err = expandNoToken(c.Username); err != nil {
		return fmt.Errorf("username: %w", err)
	}
	if c.password, err = newPassword(c.Password); err != nil {
		return fmt.Errorf("password: %w", err)
	}
	if err := c.checkWords(); err != nil {
		return err
	}
	if _, err := c.password.get(); err != nil {
		c.logger.Error("there is no password yet, so Redis is not used until the file exists", zap.Error(values.PrintableError(err)))
	}
	if c.Password != "" && !values.IsPlaceholder(c.Password) {
		c.logger.Warn("the password is part of the config, where the admin API shows it; use {env.NAME} or {file.PATH} instead")
	}
	if c.print, err = c.fingerprint(); err != nil {
		return err
	}
	if c.TLS != nil {
		if c.tls, err = c.TLS.MakeTLSClientConfig(ctx); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		if c.tls == nil {
			c.tls = new(tls.Config)
		}
	}
	if err := metrics.register(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// Validate returns an error if the config cannot be right, whatever its placeholders stand for.
func (c *Redis) Validate() error {
	switch {
	case c.DB < 0:
		return fmt.Errorf("db: %d is negative", c.DB)
	case c.DB > 0 && c.isCluster():
		return errDBOfCluster
	case c.Cluster && c.MasterName != "":
		return errTwoKinds
	case c.Username != "" && c.Password == "":
		return errNoPassword
	}
	return nil
}

var (
	errDBOfCluster = errors.New("db: a Redis Cluster, which several addresses are without a master_name, has only database 0")
	errTwoKinds    = errors.New("cluster: a Redis Cluster has no Sentinels, so leave out either cluster or master_name")
	errNoPassword  = errors.New("username: a password is needed, too")
)

// resolveAddress replaces the placeholders of an address. It returns host:port, or the path of a socket. An error names
// the placeholders and not their values.
func (c *Redis) resolveAddress(configured string) (string, error) {
	address, err := expandNoToken(configured)
	if err != nil {
		return "", err
	}
	shown := fmt.Sprintf("'%s'", values.Printable(configured))
	if values.HasPlaceholder(configured) {
		shown = "the value of " + values.Placeholders(configured)
	}
	if path, ok := strings.CutPrefix(address, "unix/"); ok && strings.HasPrefix(path, "/") {
		address = path // the way that Caddy writes a socket
	}
	switch {
	case address == "":
		return "", errors.New("an entry is empty")
	case strings.HasPrefix(address, "/"):
		return address, nil
	case strings.Contains(address, "@"): // no host holds one, and the text before it may be a password
		return "", errors.New("an address holds a user; write host:port, and log in with the options username and password")
	case strings.Contains(address, "://"):
		return "", fmt.Errorf("%s is a URL, not host:port, such as redis.example.com:6379", shown)
	case strings.Contains(address, ","):
		return "", fmt.Errorf("%s holds a comma; separate addresses by spaces", shown)
	}
	port := defaultPort
	if c.MasterName != "" {
		port = defaultSentinelPort
	}
	host, given, err := net.SplitHostPort(address)
	if err != nil {
		host, given = strings.Trim(address, "[]"), port
	}
	if number, err := strconv.ParseUint(given, 10, 16); err != nil || number == 0 || host == "" || strings.ContainsAny(host, "/ ") {
		return "", fmt.Errorf("%s is not host:port, such as redis.example.com:6379", shown)
	}
	return net.JoinHostPort(host, given), nil
}

// password is a password that was fixed when the config was loaded, or the content of a file.
type password struct {
	fixed string
	path  string // of the file, which is read for each connection; "" if the password is fixed
}

// newPassword resolves the configured password. It returns an error if there is no usable password now, unless the password is
// that of a file that does not exist yet: without Redis, chats are still answered. Its errors never show the password.
func newPassword(configured string) (password, error) {
	var p password
	var err error
	if path, ok := values.File(configured); ok {
		p.path = path
	} else if p.fixed, err = expandPassword(configured); err != nil {
		return p, err
	}
	value, err := p.get()
	switch {
	case p.path != "" && errors.Is(err, fs.ErrNotExist):
		return p, nil
	case err != nil:
		return p, err
	}
	return p, values.CheckNoToken(value)
}

func expandPassword(configured string) (string, error) {
	if err := checkPassword(configured); err != nil {
		return "", err
	}
	return values.Expand(configured)
}

func (p password) get() (string, error) {
	if p.path == "" {
		return p.fixed, nil
	}
	value, err := values.ReadSecret(p.path, maxPasswordLength)
	switch {
	case err != nil:
		return "", err
	case len(value) == 0:
		return "", fmt.Errorf("%s is empty", p.path)
	case len(value) > maxPasswordLength:
		return "", fmt.Errorf("%s holds more than %d bytes", p.path, maxPasswordLength)
	}
	return string(value), nil
}

// callTimeout bounds a single wait for Redis. A call that takes longer has failed.
const callTimeout = time.Second

// poolSize is much more than the connections to one server: one for each lane, the heartbeats, the inbox and the
// topology. After as many failed dials, go-redis dials only once a second by itself, and an instance would notice the
// end of an outage a second later.
const poolSize = 8192

// options returns the options of a Redis client.
func (c *Redis) options() *redis.UniversalOptions {
	o := &redis.UniversalOptions{
		Addrs:      c.addresses,
		MasterName: c.MasterName,
		DB:         c.DB,
		TLSConfig:  c.tls,

		// The client must not repeat a call: only its caller knows whether that is safe.
		MaxRetries:    -1,
		DialerRetries: 1,

		// A call's context bounds how long it waits for an answer.
		DialTimeout:           callTimeout,
		ReadTimeout:           -1,
		WriteTimeout:          -1,
		PoolTimeout:           callTimeout,
		ContextTimeoutEnabled: true,

		PoolSize:         poolSize,
		PipelinePoolSize: -1,
		ConnMaxIdleTime:  time.Second, // a new connection that came too late for its caller is used soon, or not at all

		// With version 3, the client looks for notifications twice before each pipeline, each time by a system call.
		Protocol: 2,

		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Password != "" {
		o.CredentialsProviderContext = func(context.Context) (string, string, error) {
			value, err := c.password.get()
			return c.username, value, err
		}
	}
	return o
}

// client returns a client for the server, or for the first of several addresses.
func (c *Redis) client() *redis.Client {
	if c.MasterName != "" {
		return redis.NewFailoverClient(c.options().Failover())
	}
	return redis.NewClient(c.nodeOptions(c.addresses[0]))
}

// nodeOptions returns the options of a client for one server, which may be a node of a Redis Cluster.
func (c *Redis) nodeOptions(address string) *redis.Options {
	o := c.options()
	o.Addrs = []string{address}
	return o.Simple()
}

// isCluster reports whether the config says that the server is a Redis Cluster.
func (c *Redis) isCluster() bool { return c.Cluster || len(c.Address) > 1 && c.MasterName == "" }

// stores holds the open stores of this process by poolKey.
var stores = caddy.NewUsagePool()

// hash returns a short name for a long text.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Open returns the store of a scope. Modules of this process with the same config and scope share one store. Other
// modules with the same scope and prefix share only the streams. Open does not wait for Redis.
func (c *Redis) Open(scope string) (store.Store, error) {
	key := c.poolKey(scope)
	shared, _, err := stores.LoadOrNew(key, func() (caddy.Destructor, error) { return c.newStore(scope, key) })
	if err != nil {
		return nil, err
	}
	return shared.(*redisStore), nil
}

// newInstance returns a new random name for an instance. No other instance ever has the same name.
func newInstance() string { return rand.Text()[:16] }

// Interface guards
var (
	_ caddy.Provisioner = (*Redis)(nil)
	_ caddy.Validator   = (*Redis)(nil)
	_ store.Module      = (*Redis)(nil)
)
