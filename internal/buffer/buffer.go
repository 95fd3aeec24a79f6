package buffer

import "sync"

const (
	Min = 4 << 10  // what a stream holds
	Max = 64 << 10 // what an event may have it hold; a larger one goes in pieces
)

// In a flood, a larger room takes more of it at once, which saves two writes of three. Only so many streams have the largest:
// their visitors may not read, and keep it.
const (
	floodClass      = 4 // 64 KiB
	manyFloodsClass = 2 // 16 KiB, for those that come later
	maxFloods       = 64

	// calmReads is how many reads that a small room would have done for show that a flood is over.
	calmReads = 8
)

// floods is how many streams have a room of floodClass for a flood.
var floods = NewSemaphore(maxFloods)

// pools has buffers of 4, 8, 16, 32 and 64 KiB.
var pools [5]sync.Pool

func Get(class int) *[]byte {
	if b, ok := pools[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, Min<<class)
	return &b
}

func Put(class int, b *[]byte) { pools[class].Put(b) }

// Buffer holds what has been read from the upstream and not been sent to the visitor. It is small, and
// borrows a larger room while an event needs it.
type Buffer struct {
	room  *[]byte
	class int
	n     int  // how many bytes are held, at the beginning of the room
	flood bool // the room is one of those that floods counts
	calm  int  // how many reads in a row would have done with a small room
}

func New() Buffer { return Buffer{room: Get(0)} }

// Release gives the room back. The buffer cannot be used afterwards.
func (b *Buffer) Release() {
	Put(b.class, b.room)
	b.Abandon()
}

// Abandon is release for a room that somebody may still look at.
func (b *Buffer) Abandon() {
	b.room = nil
	b.endFlood()
}

func (b *Buffer) Held() []byte { return (*b.room)[:b.n] }
func (b *Buffer) Free() []byte { return (*b.room)[b.n:] }

// Len returns how many bytes are held.
func (b *Buffer) Len() int { return b.n }

// Cap returns how large the room is; 0 after it was given back or abandoned.
func (b *Buffer) Cap() int {
	if b.room == nil {
		return 0
	}
	return len(*b.room)
}

func (b *Buffer) Full() bool    { return b.n == len(*b.room) }
func (b *Buffer) Largest() bool { return len(*b.room) == Max }
func (b *Buffer) Add(n int)     { b.n += n }

// Grow makes twice the room.
func (b *Buffer) Grow() { b.resize(b.class + 1) }

// Drop removes the first n bytes, and gives a large room back as soon as the rest fits in a smaller one.
func (b *Buffer) Drop(n int) {
	b.n = copy(*b.room, b.Held()[n:])
	if b.class > manyFloodsClass && !b.flood && b.n < Min {
		b.resize(0)
	}
}

// Adapt makes the room suit reads such as the last one, of n bytes, which may have filled it.
func (b *Buffer) Adapt(n int, filled bool) {
	large := b.n >= Min // the event that is held
	if filled && !large && b.class < floodClass {
		b.resizeForFlood()
	}
	if filled || large || n >= Min {
		b.calm = 0
		return
	}
	b.calm++
	if b.calm >= calmReads && b.class > 0 {
		b.resize(0)
	}
}

func (b *Buffer) resizeForFlood() {
	if !floods.TryAcquire() {
		if b.class < manyFloodsClass {
			b.resize(manyFloodsClass)
		}
		return
	}
	b.resize(floodClass)
	b.flood = true
}

func (b *Buffer) resize(class int) {
	room := Get(class)
	copy(*room, b.Held())
	Put(b.class, b.room)
	b.endFlood()
	b.room, b.class = room, class
}

func (b *Buffer) endFlood() {
	if b.flood {
		b.flood = false
		floods.Release()
	}
}
