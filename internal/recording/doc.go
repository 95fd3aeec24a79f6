// Package recording keeps an answer in a store while it is written, and lets visitors follow it there: the one who asked, and
// those who come back. The exchange writes a Recorder as it would write a visitor's response. Who may follow an answer is up to
// the caller, and how long an answer is kept is up to the store.
package recording
