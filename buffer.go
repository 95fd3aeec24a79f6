package illumichat

import "sync"

const (
	minBuffer = 4 << 10  // what a stream holds
	maxBuffer = 64 << 10 // what an event may have it hold; a larger one goes in pieces

	floodClass = 2 // the room for a flood of events, 16 KiB
)

// bufferPools has buffers of 4, 8, 16, 32 and 64 KiB.
var bufferPools [5]sync.Pool

func getBuffer(class int) *[]byte {
	if b, ok := bufferPools[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, minBuffer<<class)
	return &b
}

// buffer holds what has been read from the upstream and not been sent to the visitor. It is small, and
// borrows a larger room while an event needs it.
type buffer struct {
	room  *[]byte
	class int
	n     int // how many bytes are held, at the beginning of the room
}

func newBuffer() buffer { return buffer{room: getBuffer(0)} }

// release gives the room back. The buffer cannot be used afterwards.
func (b *buffer) release() {
	bufferPools[b.class].Put(b.room)
	b.room = nil
}

func (b *buffer) held() []byte { return (*b.room)[:b.n] }
func (b *buffer) free() []byte { return (*b.room)[b.n:] }

func (b *buffer) full() bool    { return b.n == len(*b.room) }
func (b *buffer) largest() bool { return len(*b.room) == maxBuffer }
func (b *buffer) add(n int)     { b.n += n }

// grow makes twice the room.
func (b *buffer) grow() { b.move(b.class + 1) }

// drop removes the first n bytes, and gives a large room back as soon as the rest fits in a smaller one.
func (b *buffer) drop(n int) {
	b.n = copy(*b.room, b.held()[n:])
	if b.class > floodClass && b.n < minBuffer {
		b.move(0)
	}
}

// suit makes the room suit reads such as the last one, of n bytes, which may have filled it: in a flood, a larger one takes
// more at once.
func (b *buffer) suit(n int, filled bool) {
	switch {
	case filled && b.class < floodClass:
		b.move(b.class + 1)
	case !filled && n < minBuffer && b.class > 0 && b.n < minBuffer:
		b.move(0)
	}
}

func (b *buffer) move(class int) {
	room := getBuffer(class)
	copy(*room, b.held())
	bufferPools[b.class].Put(b.room)
	b.room, b.class = room, class
}
