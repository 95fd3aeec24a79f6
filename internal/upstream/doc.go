// Package upstream asks the chat API: it builds the request that goes out, sends it once, and tells what counts as an answer.
// It is the only package that can read the token; others can only ask whether some bytes hold it. When to ask once more is
// up to the caller, because that depends on what the visitor has been sent.
package upstream
