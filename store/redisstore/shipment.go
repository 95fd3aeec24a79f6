package redisstore

import (
	_ "embed"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

var (
	//go:embed field.lua
	fieldLua string
	//go:embed claim.lua
	claimLua string
	//go:embed append.lua
	appendLua string
	//go:embed remove.lua
	removeLua string

	claimScript  = newScript(fieldLua + claimLua)
	appendScript = newScript(fieldLua + appendLua)
	removeScript = newScript(fieldLua + removeLua)
)

// script is a script of Redis, and the commands that run it.
type script struct {
	*redis.Script
	byHash, byText [2]any // the command's name, and the script's hash or text
}

func newScript(text string) *script {
	s := redis.NewScript(text)
	return &script{s, [2]any{"evalsha", s.Hash()}, [2]any{"eval", text}}
}

// what a shipment does.
type what int

const (
	nothing what = iota
	claim        // adds the first entry
	plain        // adds an entry
	guarded      // adds an entry, if the stream still has our claim, and may set the key's time to live
	removal      // removes the key
)

// shipment is what one pipeline sends of one stream. It is used again for the stream's next entry.
type shipment struct {
	replica *replica
	what    what
	id      raw
	head    []byte // JSON; nil: none
	data    raw    // bytes of the local stream, which are not copied
	ends    raw
	torn    bool
	pinned  bool // the data counts among what the replicator holds
	end     *store.End
	failed  *store.Failed
	ttl     time.Duration // 0: as before
	first   bool          // the stream's first shipment, before which Redis had nothing of the stream
	text    bool          // Redis does not know the script, so its text is sent

	args    []any
	command redis.Cmder
	expire  *redis.BoolCmd // nil: the key's time to live is not renewed

	scratch []int // for the ends of the data
}

// raw is an argument of a command. A pointer to it becomes an argument without an allocation.
type raw []byte

// MarshalBinary implements encoding.BinaryMarshaler.
func (r *raw) MarshalBinary() ([]byte, error) { return *r, nil }

// number gives the entry its id.
func (s *shipment) number(before, number int64) {
	s.id = strconv.AppendInt(s.id[:0], before, 10)
	s.id = append(s.id, '-')
	s.id = strconv.AppendInt(s.id, number, 10)
}

// addEnds adds the places where events end in the data.
func (s *shipment) addEnds(ends []int) {
	for i, end := range ends {
		if i > 0 {
			s.ends = append(s.ends, ',')
		}
		s.ends = strconv.AppendInt(s.ends, int64(end), 10)
	}
}

// prepare makes the commands.
func (s *shipment) prepare(renew bool) {
	r := s.replica
	ctx := r.of.store.ctx
	s.args, s.command, s.expire = s.args[:0], nil, nil
	switch s.what {
	case claim:
		s.script(claimScript, r.claim, (r.keep + spare).Milliseconds(), r.replaces)
		s.args = append(s.args, r.firstFields()...)
		s.command = redis.NewCmd(ctx, s.args...)
	case plain:
		s.args = append(s.args, "xadd", r.keyArg, "nomkstream", &s.id)
		s.fields()
		s.command = redis.NewStringCmd(ctx, s.args...)
	case guarded:
		s.script(appendScript, r.claim, s.ttl.Milliseconds(), &s.id)
		s.fields()
		s.command = redis.NewCmd(ctx, s.args...)
	case removal:
		s.script(removeScript, r.claim)
		s.command = redis.NewCmd(ctx, s.args...)
	}
	if renew {
		s.expire = redis.NewBoolCmd(ctx, "pexpire", r.keyArg, (r.keep + spare).Milliseconds())
	}
}

// script begins a command that runs a script.
func (s *shipment) script(script *script, args ...any) {
	if s.text {
		s.args = append(s.args, script.byText[:]...)
	} else {
		s.args = append(s.args, script.byHash[:]...)
	}
	s.args = append(s.args, 1, s.replica.keyArg)
	s.args = append(s.args, args...)
}

// fields adds the fields of the entry to a command.
func (s *shipment) fields() {
	if s.head != nil {
		s.args = append(s.args, fieldHead, s.head)
	}
	if len(s.data) > 0 {
		s.args = append(s.args, fieldData, &s.data)
	}
	if len(s.ends) > 0 {
		s.args = append(s.args, fieldEnds, &s.ends)
	}
	if s.torn {
		s.args = append(s.args, fieldTorn, 1)
	}
	if s.end != nil {
		s.args = append(s.args, fieldReason, s.end.Reason, fieldCause, s.end.Cause)
	}
	if s.failed != nil {
		s.args = append(s.args, fieldFailed, s.failed.Reason)
	}
}

// appendTo appends the commands of the shipment to others.
func (s *shipment) appendTo(commands []redis.Cmder) []redis.Cmder {
	if s.command != nil {
		commands = append(commands, s.command)
	}
	if s.expire != nil {
		commands = append(commands, s.expire)
	}
	return commands
}

// isEntry reports whether the shipment adds an entry.
func (s *shipment) isEntry() bool { return s.what != nothing && s.what != removal }

// reset empties the shipment, and keeps its memory.
func (s *shipment) reset() {
	*s = shipment{id: s.id[:0], ends: s.ends[:0], args: s.args[:0], scratch: s.scratch[:0]}
}

// outcome is what has become of a shipment.
type outcome int

const (
	unsent     outcome = iota // it was not sent
	failed                    // it must be sent again
	refused                   // it failed, because Redis refuses a command
	redirected                // another node of the Redis Cluster has the key
	unknown                   // Redis does not know the script
	taken                     // Redis has it
	gone                      // the key is gone
	foreign                   // another claim has the stream
)

// outcome returns what has become of a shipment that has replies, and the error of a command that Redis refuses.
func (s *shipment) outcome() (outcome, error) {
	for _, c := range s.appendTo(nil) {
		switch err := c.Err(); {
		case err == nil, errors.Is(err, redis.Nil), isTaken(err):
		case redis.HasErrorPrefix(err, "MOVED"), redis.HasErrorPrefix(err, "ASK "):
			return redirected, nil
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			return unknown, nil
		default:
			return refused, err
		}
	}
	switch c := s.command.(type) {
	case *redis.StringCmd:
		if errors.Is(c.Err(), redis.Nil) {
			return gone, nil
		}
	case *redis.Cmd:
		switch reply := c.Val(); reply {
		case int64(1):
		case int64(0):
			return gone, nil
		default: // of append.lua -1, of claim.lua the entries
			return foreign, nil
		}
	}
	return taken, nil
}

// isTaken reports whether Redis refuses an entry because it has the entry already. Then an earlier attempt was
// successful, but its reply was lost.
func isTaken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "equal or smaller than the target stream top item")
}
