package sitetest

import "runtime"

// UsedMemory is the heap and the stacks, without what pools keep for two collections and what stacks have
// to spare, of which each collection takes half.
func UsedMemory() int {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
