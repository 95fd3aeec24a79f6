// Package apierror has what a visitor is told instead of an answer, or of the rest of one: the errors in the API's format, the
// interruptions of an answer that has begun, and the closed set of their codes. Who refuses and why is for the packages that
// do; how an error is written and logged is for the root.
package apierror
