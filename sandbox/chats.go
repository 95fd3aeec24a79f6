package sandbox

import (
	"crypto/rand"
	"slices"
	"sync"
)

const (
	maxChats = 1000 // chats remembered; the one unused longest is forgotten
	maxTurns = 50   // turns remembered of each chat, the latest ones
)

// chats is the memory of the API. Its zero value is empty and ready.
type chats struct {
	mu     sync.Mutex
	byID   map[string]chat
	recent []string // ids, the most recently used last
}

// A chat is a conversation with one assistant. It is a value: what a request
// was given does not change under it.
type chat struct {
	id        string
	assistant string
	count     int      // turns in all
	turns     []string // the latest of them, what the user said, oldest first
}

// add adds the question to the chat that it names, or to a new one that begins
// with the history in the question. It reports false if there is no such chat
// with the assistant.
func (c *chats) add(q *question) (chat, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	turns := q.turns()
	if q.ChatID == "" {
		return c.put(chat{id: "chat_" + rand.Text(), assistant: q.AssistantID}, turns), true
	}
	known, ok := c.byID[q.ChatID]
	if !ok || known.assistant != q.AssistantID {
		return chat{}, false
	}
	return c.put(known, turns[max(0, len(turns)-1):]), true
}

// put stores the chat with the turns added to it.
func (c *chats) put(ch chat, turns []string) chat {
	ch.count += len(turns)
	ch.turns = slices.Concat(ch.turns, turns)
	ch.turns = ch.turns[max(0, len(ch.turns)-maxTurns):]
	for i, turn := range ch.turns {
		ch.turns[i] = shorten(turn)
	}

	c.recent = slices.DeleteFunc(c.recent, func(id string) bool { return id == ch.id })
	c.recent = append(c.recent, ch.id)
	if len(c.recent) > maxChats {
		delete(c.byID, c.recent[0])
		c.recent = slices.Delete(c.recent, 0, 1)
	}
	if c.byID == nil {
		c.byID = make(map[string]chat)
	}
	c.byID[ch.id] = ch
	return ch
}

// shorten cuts a text to a length that is good to quote.
func shorten(text string) string {
	const most = 200
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
