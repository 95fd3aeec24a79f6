// Package watchdog keeps every time limit of an exchange with one timer. Events do not set that timer: they leave a mark of
// when they came, and the timer looks at the marks. It sends nothing by itself; what is due is up to an Output.
package watchdog
