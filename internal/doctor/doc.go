// Package doctor is what `caddy illumichat check` reports: findings, and how they are printed. The package config finds
// what is wrong in a config, and the package site what is wrong with a running site.
//
// It does not change anything, and it never prints a token.
package doctor
