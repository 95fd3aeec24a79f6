// Package chattest provides request bodies for tests: bodies that are accepted, bodies that are refused, and bodies
// that cost an attacker little but a careless parser a lot.
package chattest
