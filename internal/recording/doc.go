// Package recording keeps an answer in a store while it is written. It lets visitors follow the answer there: the
// visitor who asked, and visitors who come back. The exchange writes to a Recorder as it would write to a visitor's response. The
// caller decides who may follow an answer, and the store how long it is kept.
package recording
