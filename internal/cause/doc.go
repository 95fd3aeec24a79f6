// Package cause says in words of its own why a connection, a request or an answer failed. The texts of foreign errors
// quote what the other side sent: the upstream, a visitor or Redis. Such a text must not get into a log. It is not the
// package's business which errors are logged, or where.
package cause
