// Package telemetry reports to the operator how requests ended: in the access log and its placeholders, in metrics and
// traces. Its Log repeats a problem at most once a minute. The package only records: no decision depends on its data.
package telemetry
