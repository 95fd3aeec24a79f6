package limit

// slots counts the slots in use, in all and by client. It is separate from windows, because a window can forget a key.
// It is not safe for concurrent use.
type slots struct {
	taken    int
	byClient map[string]int
}

// take takes a slot for a client, even beyond any maximum. checkSlots says whether there is one.
func (s *slots) take(client string) {
	if s.byClient == nil {
		s.byClient = make(map[string]int)
	}
	s.taken++
	s.byClient[client]++
}

// giveBack returns a slot that the client took.
func (s *slots) giveBack(client string) {
	s.taken--
	if s.byClient[client]--; s.byClient[client] == 0 {
		delete(s.byClient, client)
	}
}
