package redisstore

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

// entry is a part of a stream as Redis keeps it. The first entry is the claim: it says who writes the stream. Its id is
// `0-1`. The id of a later entry is `<events before it>-<number of the entry>`. By that id, Redis finds the entry at
// which a listener continues, and takes no entry twice.
type entry struct {
	id       string
	meta     string      // in the first entry only: a metaJSON
	instance string      // in the first entry only: who writes the stream
	claim    string      // in the first entry only: a random text that no other claim has
	header   http.Header // in the entry that opens the stream; nil in any other
	data     []byte
	ends     []int // where its events end in data
	torn     bool  // data ends within an event
	end      *store.End
	failed   *store.Failed // the stream failed before it was opened, and nothing follows
	lost     bool          // the stream has no end, and nothing follows
	unkept   bool          // the stream goes on, but Redis keeps only its claim
}

// metaJSON describes a stream in its first entry.
type metaJSON struct {
	Owner     string        `json:"owner,omitempty"`
	Assistant string        `json:"assistant,omitempty"`
	Grace     time.Duration `json:"grace"`
	MaxTotal  int64         `json:"max_total"`
}

func encodeMeta(meta store.Meta, terms store.Terms) string {
	encoded, _ := json.Marshal(metaJSON{meta.Owner, meta.Assistant, terms.Grace, terms.MaxTotal}) // cannot fail
	return string(encoded)
}

// The names of an entry's fields.
const (
	fieldMeta     = "meta"
	fieldInstance = "instance"
	fieldClaim    = "claim"
	fieldHead     = "head"
	fieldData     = "data"
	fieldEnds     = "ends" // comma-separated numbers
	fieldTorn     = "torn"
	fieldLost     = "lost"
	fieldUnkept   = "unkept"
	fieldReason   = "reason" // of the stream's end
	fieldCause    = "cause"
	fieldFailed   = "failed" // the reason of a failure
)

// decodeEntry reads an entry. It returns an error if an event would end outside the data.
func decodeEntry(m redis.XMessage) (*entry, error) {
	field := func(name string) string {
		value, _ := m.Values[name].(string)
		return value
	}
	e := &entry{
		id: m.ID, meta: field(fieldMeta), instance: field(fieldInstance), claim: field(fieldClaim),
		data: []byte(field(fieldData)), torn: field(fieldTorn) != "", lost: field(fieldLost) != "", unkept: field(fieldUnkept) != "",
	}
	if ends := field(fieldEnds); ends != "" {
		for _, word := range strings.Split(ends, ",") {
			end, err := strconv.Atoi(word)
			if err != nil || end < 0 || end > len(e.data) {
				return nil, fmt.Errorf("the entry %s was not written by this module", m.ID)
			}
			e.ends = append(e.ends, end)
		}
	}
	if head := field(fieldHead); head != "" {
		if err := json.Unmarshal([]byte(head), &e.header); err != nil {
			return nil, fmt.Errorf("the entry %s was not written by this module", m.ID)
		}
	}
	if reason, failed := m.Values[fieldFailed].(string); failed {
		e.failed = &store.Failed{Reason: []byte(reason)}
	}
	if _, ended := m.Values[fieldReason]; ended {
		e.end = &store.End{Reason: field(fieldReason), Cause: field(fieldCause)}
	}
	return e, nil
}

// before returns how many events there are before the entry.
func (e *entry) before() int64 {
	events, _, _ := strings.Cut(e.id, "-")
	n, _ := strconv.ParseInt(events, 10, 64) // Redis has checked the id
	return n
}

// number returns the entry's number in its stream, from 1.
func (e *entry) number() int64 {
	_, number, _ := strings.Cut(e.id, "-")
	n, _ := strconv.ParseInt(number, 10, 64) // Redis has checked the id
	return n
}

// previous returns the greatest id that is smaller than the entry's.
func (e *entry) previous() string {
	return strconv.FormatInt(e.before(), 10) + "-" + strconv.FormatInt(e.number()-1, 10)
}

// following returns the part of the entry after the event with the given number.
func (e *entry) following(after int64) store.Piece {
	p := store.Piece{Data: e.data, Events: len(e.ends), Torn: e.torn}
	known := after - e.before()
	switch {
	case known <= 0:
	case known > int64(len(e.ends)):
		return store.Piece{}
	default:
		p.Data = e.data[e.ends[known-1]:]
		p.Events -= int(known)
	}
	return p
}
