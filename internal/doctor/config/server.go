package config

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// place returns a name for the server: its name and addresses.
func (s *server) place() string {
	return values.Printable(fmt.Sprintf("server %s (%s)", s.name, some(s.Listen, " ")))
}

// where returns a name for the hosts and paths of candidates.
func (s *server) where(candidates []candidate) string {
	var hosts, paths []string
	for _, one := range candidates {
		host := s.place()
		if one.host.written != "" {
			host = values.Printable(one.host.written) + s.port()
		}
		path := values.Printable(one.path.written)
		if path == everyPath {
			path = "(every path)"
		}
		hosts, paths = appendNew(hosts, host), appendNew(paths, path)
	}
	if len(hosts) == 0 {
		return s.place()
	}
	return some(hosts, ", ") + " " + some(paths, " ")
}

// addresses returns the addresses that the server listens at.
func (s *server) addresses() []caddy.NetworkAddress {
	var addresses []caddy.NetworkAddress
	for _, listen := range s.Listen {
		if known, ok := expand(listen); ok {
			if address, err := caddy.ParseNetworkAddress(known); err == nil {
				addresses = append(addresses, address)
			}
		}
	}
	return addresses
}

// port returns the server's port behind a colon; "" if it is a usual one, or if there are several.
func (s *server) port() string {
	httpPort, httpsPort := s.ports()
	var port string
	for _, address := range s.addresses() {
		switch text := fmt.Sprintf(":%d", address.StartPort); {
		case address.IsUnixNetwork() || address.StartPort == httpPort || address.StartPort == httpsPort || port != "" && port != text:
			return ""
		default:
			port = text
		}
	}
	return port
}

// ports returns the ports at which Caddy serves HTTP and HTTPS if a site names none.
func (s *server) ports() (http, https uint) {
	http, https = caddyhttp.DefaultHTTPPort, caddyhttp.DefaultHTTPSPort
	if s.app.HTTPPort > 0 {
		http = uint(s.app.HTTPPort)
	}
	if s.app.HTTPSPort > 0 {
		https = uint(s.app.HTTPSPort)
	}
	return http, https
}

// isPlain reports whether a host of the server is plain HTTP.
func (s *server) isPlain(host string) bool {
	httpPort, httpsPort := s.ports()
	all := func(test func(caddy.NetworkAddress) bool) bool {
		return !slices.ContainsFunc(s.addresses(), func(a caddy.NetworkAddress) bool { return !test(a) })
	}
	switch {
	case len(s.TLSConnPolicies) > 0:
		return false
	case all(func(a caddy.NetworkAddress) bool { return a.IsUnixNetwork() || a.StartPort == httpPort }):
		return true
	case s.AutoHTTPS != nil && (s.AutoHTTPS.Disabled || slices.Contains(s.AutoHTTPS.Skip, host)):
		return true
	}
	// Caddy turns HTTPS on for hosts that have names, and at its port for HTTPS.
	return host == anyHost && all(func(a caddy.NetworkAddress) bool { return a.StartPort != httpsPort })
}

// privateAddress returns an address of the server that is reached only from a private network or from this machine; "" if
// there is none.
func (s *server) privateAddress() string {
	for _, address := range s.addresses() {
		ip := net.ParseIP(address.Host)
		if ip != nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()) || address.Host == "localhost" {
			return address.Host
		}
	}
	return ""
}

// isUnix reports whether the server listens at a Unix socket.
func (s *server) isUnix() bool {
	return slices.ContainsFunc(s.addresses(), func(a caddy.NetworkAddress) bool { return a.IsUnixNetwork() })
}

// checkServer reports settings of the server that do not go with a chat.
func (e *examination) checkServer() {
	e.checkProxies()
	write, longest := time.Duration(e.server.WriteTimeout), e.options.MaxDuration
	if write > 0 && write < longest {
		e.add(doctor.Warning, "write_timeout",
			fmt.Sprintf("the server's `write` timeout, %s, is shorter than the chat's `max_duration`, %s", write, longest),
			"It bounds a whole answer, so a long one ends early.", fmt.Sprintf("Leave it out, or make it longer in the global options:\nservers {\n\ttimeouts {\n\t\twrite %s\n\t}\n}", longest+time.Minute))
	}
}

// checkGracePeriod reports that Caddy does not end open answers when it exits. local says that all chats are demos.
func checkGracePeriod(app *caddyhttp.App, local bool, report doctor.Report) {
	if app.GracePeriod > 0 {
		return
	}
	level := doctor.Warning
	if local {
		level = doctor.Note
	}
	report.Add(doctor.Finding{
		Level: level, Check: "grace_period", Where: "global options", Found: "there is no `grace_period`",
		Why: "When Caddy exits, it waits for open answers, until the service manager kills it and cuts them.",
		Do:  "Write in the global options:\ngrace_period 10s",
	})
}
