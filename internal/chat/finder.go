package chat

import "github.com/illumichat/caddy-illumichat/internal/sse"

// FinishFinder notes whether a stream has had its finish. The stream is passed on as it was recorded. So its first
// finish is the only one, apart from those that end a step. The zero value is ready for the beginning of a stream. It
// takes memory from a pool only for an event that may be a finish, or that comes in parts.
type FinishFinder struct {
	reader  *FinishReader // nil until the first event that may be a finish
	scanner sse.Scanner
	within  bool // the bytes so far end within an event
	found   bool
	reason  string
}

// Note notes the next bytes of the stream. If whole is false, they end within an event, which the next bytes continue.
func (f *FinishFinder) Note(p []byte, whole bool) {
	if f.found || whole && !f.within && !MayFinish(p) {
		return
	}
	cr := sse.HasCR(p)
	for len(p) > 0 && !f.found {
		n, kind := f.scanner.Next(p, cr)
		f.noteBlock(p[:n], kind == sse.Torn)
		p = p[n:]
	}
}

// noteBlock notes a block, or a part of one. If torn is true, the block does not end in it.
func (f *FinishFinder) noteBlock(block []byte, torn bool) {
	switch {
	case !f.within && !torn && !MayFinish(block):
		return
	case f.reader == nil:
		f.reader = NewFinishReader()
	}
	if !f.within {
		f.reader.Begin(false)
	}
	f.reader.Read(block)
	if f.within = torn; !torn && f.reader.ReadFinish() && !f.reader.EndsStep() {
		f.found, f.reason = true, string(f.reader.Reason())
	}
}

// Found reports whether the stream has had its finish.
func (f *FinishFinder) Found() bool { return f.found }

// Reason returns the finishReason of the finish; "" if it is not known.
func (f *FinishFinder) Reason() string { return f.reason }

// Release returns the memory to the pool.
func (f *FinishFinder) Release() {
	if f.reader != nil {
		f.reader.Release()
		f.reader = nil
	}
}
