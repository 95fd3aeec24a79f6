// Package config finds what is wrong in a config: what keeps requests from the chat, what is open, and what is missing. It
// reads the config's JSON, because that is what Caddy runs, whatever file it comes from. It starts nothing and sends nothing.
//
// It sends made-up requests on their way through the routes, with Caddy's own matchers and rewrites. A matcher that needs
// more than a request's host, path and method, such as `remote_ip`, says "maybe"; then the way forks. Two things are
// assumed of the files of a site: the path of a chat is no file, and the last file of a `try_files` exists.
//
// The checks, by the names that their findings have:
//
//	chat             the config has the directive, in a place that this package understands
//	reachable        a POST to each host and path reaches the chat
//	order            the directives that a request passes before the chat
//	trailing_slash   the same path with or without a slash at the end leads elsewhere
//	whole_site       the chat takes every request, so that later directives get none
//	token            the token resolves, and is not part of the config
//	assistants       the assistants resolve, and are listed
//	options          the other options are accepted
//	limit            there is a limit, and one for all visitors together, and visitors do not choose its key
//	trusted_proxies  clients behind a proxy can be told apart, and cannot pose as others
//	grace_period     open answers get an end when Caddy exits
//	write_timeout    the server does not cut long answers
//	logging          nothing that was asked or answered is logged
//	cors             no other directive writes the headers for pages of other origins
//	request_header   no directive changes the fields of a request that the chat goes by
//	login            a login that the site has protects the chat, too
//	preflight        a browser may ask whether a page of another origin may chat
//	page             a chat page asks where a chat is
//	resume           the requests that resume or stop an answer reach the chat
package config
