// Package telemetry reports to the operator how requests ended: in the access log and its placeholders, in metrics, in
// traces, and in a log that repeats a problem at most once a minute. It only records: no decision depends on its data.
package telemetry
