package illumichat

import "sync"

const (
	minBuffer = 4 << 10  // what a stream holds
	maxBuffer = 64 << 10 // what an event may have it hold; a larger one goes in pieces
)

// In a flood, a larger room takes more of it at once, which saves two writes of three. Only so many streams have the largest:
// their visitors may not read, and keep it.
const (
	floodClass      = 4 // 64 KiB
	manyFloodsClass = 2 // 16 KiB, for those that come later
	mostFloods      = 64

	// lull is how many reads that a small room would have done for show that a flood is over.
	lull = 8
)

// floods is how many streams have a room of floodClass for a flood.
var floods = newQuota(mostFloods)

// bufferPools has buffers of 4, 8, 16, 32 and 64 KiB.
var bufferPools [5]sync.Pool

func getBuffer(class int) *[]byte {
	if b, ok := bufferPools[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, minBuffer<<class)
	return &b
}

func putBuffer(class int, b *[]byte) { bufferPools[class].Put(b) }

// buffer holds what has been read from the upstream and not been sent to the visitor. It is small, and
// borrows a larger room while an event needs it.
type buffer struct {
	room  *[]byte
	class int
	n     int  // how many bytes are held, at the beginning of the room
	flood bool // the room is one of those that floods counts
	small int  // how many reads in a row would have done with a small room
}

func newBuffer() buffer { return buffer{room: getBuffer(0)} }

// release gives the room back. The buffer cannot be used afterwards.
func (b *buffer) release() {
	putBuffer(b.class, b.room)
	b.abandon()
}

// abandon is release for a room that somebody may still look at.
func (b *buffer) abandon() {
	b.room = nil
	b.endFlood()
}

func (b *buffer) held() []byte { return (*b.room)[:b.n] }
func (b *buffer) free() []byte { return (*b.room)[b.n:] }

// len returns how many bytes are held.
func (b *buffer) len() int { return b.n }

// cap returns how large the room is; 0 after it was given back or abandoned.
func (b *buffer) cap() int {
	if b.room == nil {
		return 0
	}
	return len(*b.room)
}

func (b *buffer) full() bool    { return b.n == len(*b.room) }
func (b *buffer) largest() bool { return len(*b.room) == maxBuffer }
func (b *buffer) add(n int)     { b.n += n }

// grow makes twice the room.
func (b *buffer) grow() { b.move(b.class + 1) }

// drop removes the first n bytes, and gives a large room back as soon as the rest fits in a smaller one.
func (b *buffer) drop(n int) {
	b.n = copy(*b.room, b.held()[n:])
	if b.class > manyFloodsClass && !b.flood && b.n < minBuffer {
		b.move(0)
	}
}

// suit makes the room suit reads such as the last one, of n bytes, which may have filled it.
func (b *buffer) suit(n int, filled bool) {
	large := b.n >= minBuffer // the event that is held
	if filled && !large && b.class < floodClass {
		b.moveToFlood()
	}
	if filled || large || n >= minBuffer {
		b.small = 0
		return
	}
	b.small++
	if b.small >= lull && b.class > 0 {
		b.move(0)
	}
}

func (b *buffer) moveToFlood() {
	if !floods.take() {
		if b.class < manyFloodsClass {
			b.move(manyFloodsClass)
		}
		return
	}
	b.move(floodClass)
	b.flood = true
}

func (b *buffer) move(class int) {
	room := getBuffer(class)
	copy(*room, b.held())
	putBuffer(b.class, b.room)
	b.endFlood()
	b.room, b.class = room, class
}

func (b *buffer) endFlood() {
	if b.flood {
		b.flood = false
		floods.giveBack()
	}
}
