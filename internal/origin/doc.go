// Package origin decides which web pages may ask: those of the site itself, and those of the other origins that are allowed.
// It is not for clients that are no browsers, which can claim any origin.
package origin
