package redisstore

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// UnmarshalCaddyfile reads the block
//
//	store redis {
//		address     <host:port...>
//		master_name <name>
//		cluster
//		username    <name>
//		password    <password>
//		db          <number>
//		tls [{
//			trust_pool  <module> ...
//			client_auth <cert_file> <key_file>
//			server_name <name>
//		}]
//		prefix      <prefix>
//	}
func (c *Redis) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if err := values.NoArgs(d, "redis takes a block; write in it, for example: "+examples["address"]); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s is already specified", name)
		}
		seen[name] = true
		if err := c.unmarshalSubdirective(d, name); err != nil {
			return err
		}
		if err := c.checkWords(); err != nil {
			return d.WrapErr(err)
		}
	}
	switch {
	case c.DB > 0 && c.isCluster():
		return d.WrapErr(errDBOfCluster)
	case c.Cluster && c.MasterName != "":
		return d.WrapErr(errTwoKinds)
	case c.Username != "" && c.Password == "":
		return d.WrapErr(errNoPassword)
	}
	return nil
}

func (c *Redis) unmarshalSubdirective(d *caddyfile.Dispenser, name string) error {
	switch name {
	case "address":
		if c.Address = d.RemainingArgs(); len(c.Address) == 0 {
			return values.Missing(d, examples["address"])
		}
		for _, address := range c.Address {
			if err := values.CheckBraces(address); err != nil {
				return d.Errf("address: '%s': %w", values.Printable(address), err)
			}
			if values.HasPlaceholder(address) {
				continue
			}
			if _, err := c.resolveAddress(address); err != nil {
				return d.Errf("address: %w", err)
			}
		}
		return nil
	case "master_name":
		return unmarshalWord(d, &c.MasterName)
	case "cluster":
		c.Cluster = true
		return values.NoArgs(d, "cluster takes no argument; leave it out to turn it off")
	case "username":
		if err := unmarshalWord(d, &c.Username); err != nil {
			return err
		}
		if err := values.CheckBraces(c.Username); err != nil {
			return d.Errf("username: %w", err)
		}
		return nil
	case "password":
		return c.unmarshalPassword(d)
	case "db":
		return c.unmarshalDB(d)
	case "tls":
		return c.unmarshalTLS(d)
	case "prefix":
		if err := unmarshalWord(d, &c.Prefix); err != nil {
			return err
		}
		return nil
	}
	return d.Errf("unrecognized subdirective '%s' of redis%s", values.Printable(name),
		values.DidYouMean(name, "address", "master_name", "cluster", "username", "password", "db", "tls", "prefix"))
}

// unmarshalPassword reads the password. Its errors must not print the Caddyfile's current token, which is a part of the
// secret. So unmarshalPassword does not use d.ArgErr, whose errors print it.
func (c *Redis) unmarshalPassword(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Err("password takes exactly one argument; an example is: " + examples["password"])
	}
	c.Password = args[0]
	if err := checkPassword(c.Password); err != nil {
		return d.Errf("password: %w", err)
	}
	return nil
}

func (c *Redis) unmarshalDB(d *caddyfile.Dispenser) error {
	var word string
	if err := unmarshalWord(d, &word); err != nil {
		return err
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 {
		return d.Errf("db: '%s' is not a whole number of at least 0; an example is: %s", values.Printable(word), examples["db"])
	}
	c.DB = n
	return nil
}

func (c *Redis) unmarshalTLS(d *caddyfile.Dispenser) error {
	if err := values.NoArgs(d, "tls takes a block or nothing; leave tls out to turn it off"); err != nil {
		return err
	}
	c.TLS = new(reverseproxy.TLSConfig)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch name := d.Val(); name {
		case "trust_pool":
			if err := c.unmarshalTrustPool(d); err != nil {
				return err
			}
		case "client_auth":
			args := d.RemainingArgs()
			if len(args) != 2 {
				return d.Err("client_auth takes the file of a certificate and that of its key; an example is: " + examples["client_auth"])
			}
			c.TLS.ClientCertificateFile, c.TLS.ClientCertificateKeyFile = args[0], args[1]
		case "server_name":
			if err := unmarshalWord(d, &c.TLS.ServerName); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized subdirective '%s' of tls%s", values.Printable(name),
				values.DidYouMean(name, "trust_pool", "client_auth", "server_name"))
		}
		if err := c.checkWords(); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (c *Redis) unmarshalTrustPool(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return values.Missing(d, examples["trust_pool"])
	}
	name := d.Val()
	if values.Printable(name) != name {
		return d.Errf("unrecognized trust pool; an example is: %s", examples["trust_pool"])
	}
	module, err := caddyfile.UnmarshalModule(d, "tls.ca_pool.source."+name)
	if err != nil {
		return err
	}
	if _, ok := module.(caddytls.CA); !ok {
		return d.Errf("'%s' is not a trust pool", name)
	}
	c.TLS.CARaw = caddyconfig.JSONModuleObject(module, "provider", name, nil)
	return nil
}

// unmarshalWord reads exactly one argument, which must not be empty.
func unmarshalWord(d *caddyfile.Dispenser, word *string) (err error) {
	name := d.Val()
	*word, err = values.OneArg(d, examples[name])
	if err == nil && *word == "" {
		err = d.Errf("%s is empty; an example is: %s", name, examples[name])
	}
	return err
}

// examples has a line of the Caddyfile for each option that has arguments.
var examples = map[string]string{
	"address":     "address redis.example.com:6379",
	"master_name": "master_name mymaster",
	"username":    "username caddy",
	"password":    "password {file./etc/caddy/redis_password}",
	"db":          "db 1",
	"trust_pool":  "trust_pool file /etc/ssl/redis-ca.pem",
	"client_auth": "client_auth /etc/ssl/caddy.pem /etc/ssl/caddy.key",
	"server_name": "server_name redis.example.com",
	"prefix":      "prefix chat",
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Redis)(nil)
