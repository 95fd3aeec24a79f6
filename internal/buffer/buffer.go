package buffer

import "sync"

// Min and Max are the smallest and the largest size of a [Buffer], in bytes.
const (
	Min = 4 << 10  // of each stream, unless an event or a flood needs more
	Max = 64 << 10 // a larger event is sent in parts
)

// In a flood of events, a larger buffer takes more of them at once, which saves two of three writes. At most maxFloods
// streams have the largest buffer, because a visitor who does not read keeps it occupied.
const (
	floodClass      = 4 // 64 KiB
	manyFloodsClass = 2 // 16 KiB, for floods beyond maxFloods
	maxFloods       = 64

	// After calmReads reads in a row that would have fitted a buffer of Min bytes, a flood is over.
	calmReads = 8
)

// floods limits how many streams have a buffer of floodClass because of a flood.
var floods = NewSemaphore(maxFloods)

// pools holds free buffers of 4, 8, 16, 32 and 64 KiB, by class.
var pools [5]sync.Pool

// Get returns Min<<class bytes of memory, from a pool if there is some. class is 0 to 4: 4 to 64 KiB. The content is
// undefined.
func Get(class int) *[]byte {
	if b, ok := pools[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, Min<<class)
	return &b
}

// Put returns memory of the given class, which Get has lent, to the pool.
func Put(class int, b *[]byte) { pools[class].Put(b) }

// Buffer holds bytes that were read from the upstream and not yet sent to the visitor. It has Min bytes of memory, and
// borrows more while an event or a flood needs it.
type Buffer struct {
	memory *[]byte // the memory, from the pool of class; nil after Release or Abandon
	class  int
	n      int  // how many bytes are held, at the beginning of memory
	flood  bool // floods counts the memory
	calm   int  // how many reads in a row would have fitted Min bytes
}

// New returns an empty Buffer of Min bytes. The caller must call Release or Abandon.
func New() Buffer { return Buffer{memory: Get(0)} }

// Release returns the memory to the pool. Afterwards only Abandon and Cap may be called.
func (b *Buffer) Release() {
	Put(b.class, b.memory)
	b.Abandon()
}

// Abandon gives the memory up without returning it to the pool, because other code may still read it. HTTP/2 may read
// the bytes of a write that failed. Abandon may be called more than once. Afterwards only Abandon and Cap may be
// called.
func (b *Buffer) Abandon() {
	b.memory = nil
	b.endFlood()
}

// Held returns the bytes that are held.
func (b *Buffer) Held() []byte { return (*b.memory)[:b.n] }

// Free returns the unused memory, for the next read.
func (b *Buffer) Free() []byte { return (*b.memory)[b.n:] }

// Len returns how many bytes are held.
func (b *Buffer) Len() int { return b.n }

// Cap returns the size of the memory in bytes, for tests; 0 after Release or Abandon.
func (b *Buffer) Cap() int {
	if b.memory == nil {
		return 0
	}
	return len(*b.memory)
}

// Full reports whether no memory is unused.
func (b *Buffer) Full() bool { return b.n == len(*b.memory) }

// Largest reports whether the buffer has Max bytes and cannot grow.
func (b *Buffer) Largest() bool { return len(*b.memory) == Max }

// Add notes that n bytes were read into the memory that Free returned. They are held now.
func (b *Buffer) Add(n int) { b.n += n }

// Grow doubles the memory. It panics if the buffer is Largest.
func (b *Buffer) Grow() { b.resize(b.class + 1) }

// Drop removes the first n bytes. A buffer that has grown beyond 16 KiB for an event shrinks to Min bytes once the rest
// fits.
func (b *Buffer) Drop(n int) {
	b.n = copy(*b.memory, b.Held()[n:])
	if b.class > manyFloodsClass && !b.flood && b.n < Min {
		b.resize(0)
	}
}

// Adapt resizes the buffer after a read of n bytes, to suit further reads like it. filled says whether the read filled
// all of the memory from Free. If so, a flood may have begun, and the buffer grows. It shrinks when the flood is over.
func (b *Buffer) Adapt(n int, filled bool) {
	large := b.n >= Min // a large event is held
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
	Put(b.class, b.memory)
	b.endFlood()
	b.memory, b.class = room, class
}

func (b *Buffer) endFlood() {
	if b.flood {
		b.flood = false
		floods.Release()
	}
}
