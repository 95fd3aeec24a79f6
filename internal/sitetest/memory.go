package sitetest

import "runtime"

// UsedMemory returns how many bytes the heap and the stacks use. It collects garbage four times first: a sync.Pool keeps
// objects for two collections, and each collection halves the spare room of a stack.
func UsedMemory() int {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
