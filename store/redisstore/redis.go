// Package redisstore provides http.handlers.illumichat.stores.redis, which keeps streams in a Redis that several instances
// share. A visitor may come back to any of them, and they count visitors' chats together.
//
// What an instance writes is in its own memory, too: whoever asked, or comes back to the same instance, waits for no Redis.
package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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

// What an operator left out.
const (
	defaultAddress      = "localhost"
	defaultPort         = "6379"
	defaultSentinelPort = "26379"
	defaultPrefix       = "illumichat"
)

// maxPasswordLength is in bytes.
const maxPasswordLength = 4096

// Redis keeps streams in Redis 6.2 or newer, or what speaks its protocol and knows streams and scripts, so that visitors can go
// on with an answer at any instance. What `limit` and `max_streams_per_client` count, and a cool-down, is shared, too. While
// Redis cannot be reached, answers can be resumed only at the instance that writes them, and each instance counts for itself.
type Redis struct {
	// Where Redis is, as `host:port` or the path of a socket. Several are nodes of a Redis Cluster, or Sentinels where there is
	// a `master_name`. They may hold `{env.*}` and `{file.*}` placeholders. Default: `localhost:6379`, and for Sentinels
	// `localhost:26379`; where a port is left out, it is that.
	Address []string `json:"address,omitempty"`

	// The name under which Sentinels know the master. Default: none, and the addresses are not those of Sentinels.
	MasterName string `json:"master_name,omitempty"`

	// Whom to log in as. It may hold placeholders. Default: Redis's own default user.
	Username string `json:"username,omitempty"`

	// What to log in with. It should be a placeholder, `{env.NAME}` or `{file.PATH}`: a literal password shows in the config,
	// and is warned about. One that is exactly one `{file.PATH}` is read anew for each connection, so a rotated secret needs
	// no reload. Default: none.
	Password string `json:"password,omitempty"`

	// The number of the database; a Cluster has only 0. Default: 0.
	DB int `json:"db,omitempty"`

	// How to encrypt connections: an object as that of `reverse_proxy`'s transport, and where it is empty, TLS as usual.
	// Default: connections are not encrypted.
	TLS *reverseproxy.TLSConfig `json:"tls,omitempty"`

	// What the names of all keys begin with. Instances that have the same one, and ask the same endpoint with the same token,
	// share what they keep. Default: `illumichat`.
	Prefix string `json:"prefix,omitempty"`

	logger    *zap.Logger
	addresses []string
	username  string
	password  password
	tls       *tls.Config
}

// CaddyModule returns the Caddy module information.
func (*Redis) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.illumichat.stores.redis",
		New: func() caddy.Module { return new(Redis) },
	}
}

// Provision fills in defaults and resolves placeholders. Redis need not be there yet.
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
	if c.username, err = values.Expand(c.Username); err != nil {
		return fmt.Errorf("username: %w", err)
	}
	if c.password, err = newPassword(c.Password); err != nil {
		return fmt.Errorf("password: %w", err)
	}
	if c.Password != "" && !values.IsPlaceholder(c.Password) {
		c.logger.Warn("the password is part of the config, where the admin API shows it; use {env.NAME} or {file.PATH} instead")
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

// Validate checks what cannot be right, whatever it resolves to.
func (c *Redis) Validate() error {
	switch {
	case c.DB < 0:
		return fmt.Errorf("db: %d is negative", c.DB)
	case c.DB > 0 && len(c.Address) > 1 && c.MasterName == "":
		return errDBOfCluster
	case c.Username != "" && c.Password == "":
		return errNoPassword
	}
	return checkPrefix(c.Prefix)
}

var (
	errDBOfCluster = errors.New("db: a Redis Cluster, which several addresses are without a master_name, has only database 0")
	errNoPassword  = errors.New("username: a password is needed, too")
)

// checkPrefix refuses braces, which tell a Redis Cluster where a key belongs.
func checkPrefix(prefix string) error {
	if strings.ContainsAny(prefix, "{}") {
		return fmt.Errorf("prefix: '%s' holds a brace", prefix)
	}
	return nil
}

// resolveAddress returns an address with its port, or a socket's path.
func (c *Redis) resolveAddress(configured string) (string, error) {
	address, err := values.Expand(configured)
	if err != nil {
		return "", err
	}
	if path, ok := strings.CutPrefix(address, "unix/"); ok && strings.HasPrefix(path, "/") {
		address = path // as Caddy writes it
	}
	switch {
	case address == "":
		return "", errors.New("one is empty")
	case strings.HasPrefix(address, "/"):
		return address, nil
	case strings.Contains(address, "@"): // which no host does; what comes before it may be a password
		return "", errors.New("one holds a user; say host:port, and who to log in as by username and password")
	case strings.Contains(address, "://"):
		return "", fmt.Errorf("'%s' is a URL, not host:port", values.Printable(address))
	}
	port := defaultPort
	if c.MasterName != "" {
		port = defaultSentinelPort
	}
	host, given, err := net.SplitHostPort(address)
	if err != nil {
		host, given = strings.Trim(address, "[]"), port
	}
	if host == "" || given == "" || strings.ContainsAny(host, "/ ") {
		return "", fmt.Errorf("'%s' is not host:port", values.Printable(address))
	}
	return net.JoinHostPort(host, given), nil
}

// password is what to log in with: known since the config was loaded, or in a file.
type password struct {
	fixed string
	path  string // read for each connection; "" where the password is fixed
}

// newPassword resolves the configured password. Its errors never hold it.
func newPassword(configured string) (password, error) {
	if path, ok := values.File(configured); ok {
		p := password{path: path}
		_, err := p.get()
		return p, err
	}
	fixed, err := values.Expand(configured)
	return password{fixed: fixed}, err
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

// callTimeout bounds what is waited for at once. What takes longer counts as failed.
const callTimeout = time.Second

// options are those of a client.
func (c *Redis) options() *redis.UniversalOptions {
	o := &redis.UniversalOptions{
		Addrs:      c.addresses,
		MasterName: c.MasterName,
		DB:         c.DB,
		TLSConfig:  c.tls,

		// What fails is tried again where we know what that means.
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           callTimeout,
		ReadTimeout:           callTimeout,
		WriteTimeout:          callTimeout,
		PoolTimeout:           callTimeout,
		ContextTimeoutEnabled: true,

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

// stores are those that are open in this process, by poolKey.
var stores = caddy.NewUsagePool()

// poolKey tells stores apart. It holds no secret. What is in the files of certificates may have changed since another store
// was opened, so that each has its own then.
func (c *Redis) poolKey(scope string) (string, error) {
	config, err := json.Marshal(c)
	resolved := []string{scope, string(config), strings.Join(c.addresses, " "), c.username, c.password.fixed}
	if c.TLS != nil && (len(c.TLS.CARaw) > 0 || c.TLS.ClientCertificateFile != "") {
		resolved = append(resolved, newInstance())
	}
	return hash(fmt.Sprintf("%q", resolved)), err
}

// hash is a short name for a long text.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Open returns the store of a scope.
func (c *Redis) Open(scope string) (store.Store, error) {
	key, err := c.poolKey(scope)
	if err != nil {
		return nil, err
	}
	shared, _, err := stores.LoadOrNew(key, func() (caddy.Destructor, error) { return c.newStore(scope, key) })
	if err != nil {
		return nil, err
	}
	return shared.(*redisStore), nil
}

// newInstance returns the name of an instance, which is never used again.
func newInstance() string { return rand.Text()[:16] }

// Interface guards
var (
	_ caddy.Provisioner = (*Redis)(nil)
	_ caddy.Validator   = (*Redis)(nil)
	_ store.Module      = (*Redis)(nil)
)
