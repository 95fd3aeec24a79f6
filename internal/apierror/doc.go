// Package apierror defines what a visitor gets instead of an answer, or instead of the rest of one: errors in the API's
// format, interruptions of an answer that has begun, and the closed set of their codes. Other packages decide which
// requests they refuse, and why; the root decides how an error is written and logged.
package apierror
