// Package recording keeps an answer in a store while it is written, and lets visitors follow it there: the one who
// asked, and those who come back. The exchange writes to a Recorder as it would write to a visitor's response. The
// caller decides who may follow an answer, and the store how long it is kept.
package recording
