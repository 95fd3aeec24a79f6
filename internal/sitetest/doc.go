// Package sitetest runs the module for tests the way operators run it: a real Caddy serves a site from a Caddyfile. It also
// provides upstreams for such a site, and the requests and checks of its visitors.
//
// It does not import the module itself, so that the tests of the root package can use it. A suite imports the module for
// its registration with Caddy, as a build of Caddy does.
package sitetest
