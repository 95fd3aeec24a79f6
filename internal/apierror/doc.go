// Package apierror defines what a visitor gets instead of an answer, or instead of the rest of one. That is an error in
// the API's format, or an interruption of an answer that has begun. The set of their codes is closed. Other packages
// decide which requests they refuse, and why; the root decides how an error is written and logged.
package apierror
