// Package chattest provides request bodies for tests: bodies that are accepted, and bodies that are refused. Other
// bodies cost an attacker little but a careless parser a lot.
package chattest
