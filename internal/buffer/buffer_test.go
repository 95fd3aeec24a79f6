package buffer

import (
	"bytes"
	"sync"
	"testing"
)

// fill adds p as a read would.
func fill(b *Buffer, p string) {
	b.Add(copy(b.Free(), p))
}

func TestBufferKeepsWhatIsHeld(t *testing.T) {
	b := New()
	defer b.Release()
	if b.Cap() != Min || b.Len() != 0 || b.Full() {
		t.Fatalf("a new buffer has %d of %d bytes", b.Len(), b.Cap())
	}
	fill(&b, "hello, world")
	b.Drop(7)
	if string(b.Held()) != "world" {
		t.Errorf("it holds %q", b.Held())
	}
	for size := 2 * Min; size <= Max; size *= 2 {
		b.Grow()
		if b.Cap() != size || string(b.Held()) != "world" {
			t.Errorf("it holds %q in %d bytes, want %d", b.Held(), b.Cap(), size)
		}
	}
	if !b.Largest() {
		t.Error("it can grow further")
	}
	fill(&b, string(bytes.Repeat([]byte("x"), Max)))
	if !b.Full() || b.Len() != Max {
		t.Errorf("it holds %d of %d bytes", b.Len(), Max)
	}
	// A large event is gone, so its memory goes back at once.
	b.Drop(Max - 2)
	if b.Cap() != Min || string(b.Held()) != "xx" {
		t.Errorf("it holds %q in %d bytes", b.Held(), b.Cap())
	}
}

// A read that fills the buffer is a flood. It is over after some reads in a row that a small buffer would have held.
func TestBufferAdaptsToAFlood(t *testing.T) {
	b := New()
	defer b.Release()
	b.Adapt(Min, true)
	if b.Cap() != Max {
		t.Fatalf("in a flood it has %d bytes", b.Cap())
	}
	for range calmReads - 1 {
		b.Adapt(10, false)
	}
	b.Adapt(Min, false) // which begins the count anew
	for range calmReads - 1 {
		b.Adapt(10, false)
	}
	if b.Cap() != Max {
		t.Fatalf("after a few small reads it has %d bytes", b.Cap())
	}
	b.Adapt(10, false)
	if b.Cap() != Min {
		t.Errorf("after the flood it has %d bytes", b.Cap())
	}
}

// Only so many buffers have the largest memory for a flood. However one ends, another can have it.
func TestFloodsAreBounded(t *testing.T) {
	var all []*Buffer
	for i := range maxFloods + 3 {
		b := New()
		b.Adapt(Min, true)
		want := Max
		if i >= maxFloods {
			want = Min << manyFloodsClass
		}
		if b.Cap() != want {
			t.Errorf("buffer %d has %d bytes, want %d", i, b.Cap(), want)
		}
		all = append(all, &b)
	}
	all[0].Release()
	all[1].Abandon()
	for range 2 {
		b := New()
		if b.Adapt(Min, true); b.Cap() != Max {
			t.Errorf("a further buffer has %d bytes", b.Cap())
		}
		all = append(all, &b)
	}
	for _, b := range all[2:] {
		b.Release()
	}
	for _, b := range all {
		if b.Cap() != 0 {
			t.Error("a buffer has memory after its end")
		}
	}
	if n := floods.InUse(); n != 0 {
		t.Errorf("%d floods are left", n)
	}
}

func TestSemaphoreIsBounded(t *testing.T) {
	const limit = 10
	s := NewSemaphore(limit)
	var acquired sync.WaitGroup
	granted := make(chan bool, 100)
	for range cap(granted) {
		acquired.Go(func() { granted <- s.TryAcquire() })
	}
	acquired.Wait()
	n := 0
	for range cap(granted) {
		if <-granted {
			n++
		}
	}
	if n != limit || s.InUse() != limit {
		t.Errorf("%d were granted and %d are in use, want %d", n, s.InUse(), limit)
	}
	for range n {
		s.Release()
	}
	if s.InUse() != 0 || !s.TryAcquire() {
		t.Error("not all were released")
	}
}
