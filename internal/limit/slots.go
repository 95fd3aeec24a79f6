package limit

// slots are what open chats take up, in all and by client. They are held apart from what windows count, where
// a key can be forgotten. It is not safe for concurrent use.
type slots struct {
	taken    int
	byClient map[string]int
}

func (s *slots) take(client string) {
	if s.byClient == nil {
		s.byClient = make(map[string]int)
	}
	s.taken++
	s.byClient[client]++
}

func (s *slots) giveBack(client string) {
	s.taken--
	if s.byClient[client]--; s.byClient[client] == 0 {
		delete(s.byClient, client)
	}
}
