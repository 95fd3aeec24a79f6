// Package telemetry tells the operator what becomes of requests: in the access log and its placeholders, in metrics, in traces,
// and in a log that repeats itself no more than once a minute. It only writes down; nothing is decided by what it knows.
package telemetry
