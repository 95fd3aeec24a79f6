// Package watchdog keeps every time limit of an exchange with one timer. An event does not reset that timer. Only the
// event's time is stored, and the timer checks it when it fires. The package sends nothing by itself: an Output sends
// what is due.
package watchdog
