// Package chattest has bodies of requests for tests: what is accepted, what is refused, and what costs an attacker little
// and a careless reader a lot.
package chattest
