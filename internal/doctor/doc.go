// Package doctor has the findings that `caddy illumichat check` reports, and prints them. The package config finds
// what is wrong in a config, and the package site what is wrong with a running site.
//
// It does not change anything, and it never prints a token.
package doctor
