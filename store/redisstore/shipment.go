package redisstore

import (
	"context"
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
	//go:embed unkeep.lua
	unkeepLua string

	claimScript  = newScript(fieldLua + claimLua)
	appendScript = newScript(fieldLua + appendLua)
	removeScript = newScript(fieldLua + removeLua)
	unkeepScript = newScript(fieldLua + unkeepLua)
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
	nothing   what = iota
	claim          // adds the first entry, and sets the key's time to live
	plain          // adds an entry
	last           // adds the last entry, and sets the key's time to live
	guarded        // adds an entry if the stream still has our claim, and may set the key's time to live
	unkeeping      // leaves only the claim
	removal        // removes the key
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
	script  bool          // a script must do it: a transaction was redirected, or Redis has an entry with the id already
	text    bool          // Redis does not know the script, so its text is sent

	args     []any
	commands []redis.Cmder  // the last one of those has the reply
	expire   *redis.BoolCmd // the command after those; nil: the key's time to live is not renewed

	scratch []int // for the ends of the data

	// The first memory of args, commands and ends. Few entries need more.
	someArgs     [16]any
	someCommands [5]redis.Cmder
	someEnds     [64]byte
}

// raw is an argument of a command. A pointer to it becomes an argument without an allocation.
type raw []byte

// MarshalBinary implements encoding.BinaryMarshaler.
func (r *raw) MarshalBinary() ([]byte, error) { return *r, nil }

// number gives the entry its id.
func (s *shipment) number(before, number int64) {
	if s.id == nil {
		s.id = make(raw, 0, 24)
	}
	s.id = strconv.AppendInt(s.id[:0], before, 10)
	s.id = append(s.id, '-')
	s.id = strconv.AppendInt(s.id, number, 10)
}

// addEnds adds the places where events end in the data.
func (s *shipment) addEnds(ends []int) {
	if s.ends == nil {
		s.ends = s.someEnds[:0]
	}
	for i, end := range ends {
		if i > 0 {
			s.ends = append(s.ends, ',')
		}
		s.ends = strconv.AppendInt(s.ends, int64(end), 10)
	}
}

// prepare makes the commands. The first entry and its key's time to live are set in one step: if both came one after the
// other, a connection that breaks in between could leave a key that never expires. A transaction costs Redis less than a
// script, but cannot look whether another claim has the stream. The last entry needs no transaction, because the key has a
// time to live by then.
func (s *shipment) prepare(renew bool) {
	r := s.replica
	if s.args == nil {
		s.args, s.commands = s.someArgs[:0], s.someCommands[:0]
	}
	s.args, s.commands, s.expire = s.args[:0], s.commands[:0], nil
	switch {
	case s.what == claim && (r.chosen || s.script):
		s.run(claimScript, r.claim, (r.keep + spare).Milliseconds(), r.replaces)
		s.firstFields()
		s.add(redis.NewCmd(s.ctx(), s.args...))
	case s.what == claim:
		s.args = append(s.args, "xadd", r.keyArg, "0-1")
		s.firstFields()
		s.transact(r.keep + spare)
	case s.what == guarded, (s.what == plain || s.what == last) && s.script:
		s.run(appendScript, r.claim, s.ttl.Milliseconds(), &s.id)
		s.fields()
		s.add(redis.NewCmd(s.ctx(), s.args...))
	case s.what == plain, s.what == last:
		s.args = append(s.args, "xadd", r.keyArg, "nomkstream", &s.id)
		s.fields()
		s.add(redis.NewStringCmd(s.ctx(), s.args...))
	case s.what == unkeeping:
		s.run(unkeepScript, r.claim, (r.keep + spare).Milliseconds(), &s.id)
		s.firstFields()
		s.add(redis.NewCmd(s.ctx(), s.args...))
	case s.what == removal:
		s.run(removeScript, r.claim)
		s.add(redis.NewCmd(s.ctx(), s.args...))
	}
	switch {
	case s.what == last && !s.script:
		s.expire = redis.NewBoolCmd(s.ctx(), "pexpire", r.keyArg, s.ttl.Milliseconds())
	case renew:
		s.expire = redis.NewBoolCmd(s.ctx(), "pexpire", r.keyArg, (r.keep + spare).Milliseconds())
	}
}

func (s *shipment) ctx() context.Context { return s.replica.of.store.ctx }

func (s *shipment) add(c redis.Cmder) { s.commands = append(s.commands, c) }

// run begins a command that runs a script.
func (s *shipment) run(script *script, args ...any) {
	if s.text {
		s.args = append(s.args, script.byText[:]...)
	} else {
		s.args = append(s.args, script.byHash[:]...)
	}
	s.args = append(s.args, 1, s.replica.keyArg)
	s.args = append(s.args, args...)
}

// transact makes a transaction of a command and of one that sets the key's time to live.
func (s *shipment) transact(ttl time.Duration) {
	s.add(redis.NewStatusCmd(s.ctx(), multi...))
	s.add(redis.NewStatusCmd(s.ctx(), s.args...))
	s.add(redis.NewStatusCmd(s.ctx(), "pexpire", s.replica.keyArg, ttl.Milliseconds()))
	s.add(redis.NewCmd(s.ctx(), exec...))
}

var multi, exec = []any{"multi"}, []any{"exec"}

// firstFields adds the fields of the first entry to a command.
func (s *shipment) firstFields() {
	r := s.replica
	s.args = append(s.args, fieldMeta, r.meta, fieldInstance, r.of.store.instance, fieldClaim, r.claim)
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
	commands = append(commands, s.commands...)
	if s.expire != nil {
		commands = append(commands, s.expire)
	}
	return commands
}

// isNews reports whether listeners at other instances must be told of the shipment: it adds an entry or a mark.
func (s *shipment) isNews() bool { return s.what != nothing && s.what != removal }

// reset empties the shipment, and keeps its memory.
func (s *shipment) reset() {
	clear(s.args)
	clear(s.commands)
	s.what, s.ttl, s.first, s.script, s.text = nothing, 0, false, false, false
	s.head, s.data, s.torn, s.pinned, s.end, s.failed, s.expire = nil, nil, false, false, nil, nil, nil
	s.id, s.ends, s.args, s.commands = s.id[:0], s.ends[:0], s.args[:0], s.commands[:0]
}

// outcome is what has become of a shipment.
type outcome int

const (
	unsent     outcome = iota // it was not sent
	failed                    // it must be sent again
	refused                   // it failed, because Redis refuses a command
	redirected                // another node of the Redis Cluster has the key
	unknown                   // it must be sent in another way
	taken                     // Redis has it
	gone                      // the key is gone
	foreign                   // another claim has the stream, or another instance has marked it as lost
)

// outcome returns what has become of a shipment that has replies, and the error of a command that Redis refuses.
func (s *shipment) outcome() (outcome, error) {
	if s.expire != nil && isRedirection(s.expire.Err()) {
		return redirected, nil
	}
	var reply redis.Cmder
	for _, reply = range s.commands {
		switch err := reply.Err(); {
		case err == nil, errors.Is(err, redis.Nil):
		case isTaken(err):
			return s.repeated(err)
		case isRedirection(err) && len(s.commands) > 1:
			s.script = true // because a shard runs redirected commands one by one
			return unknown, nil
		case isRedirection(err):
			return redirected, nil
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			s.text = true
			return unknown, nil
		default:
			return refused, err
		}
	}
	switch c := reply.(type) {
	case nil: // only the time to live was renewed
	case *redis.StringCmd:
		if errors.Is(c.Err(), redis.Nil) {
			return gone, nil
		}
	case *redis.Cmd:
		if entries, ok := c.Val().([]any); ok && len(entries) == 2 {
			if err, ok := entries[0].(error); ok && isTaken(err) {
				return s.repeated(err)
			}
		}
		return outcomeOf(c.Val())
	}
	return taken, nil
}

// repeated returns the outcome of a shipment whose entry Redis refuses because of its id. An earlier attempt was
// successful, but its reply was lost: or another instance took this one for dead, and has put its mark at that id. A
// script finds out. Nobody marks the first entry.
func (s *shipment) repeated(err error) (outcome, error) {
	switch s.what {
	case claim:
		return taken, nil
	case unkeeping:
		return refused, err
	}
	s.script = true
	return unknown, nil
}

// outcomeOf returns the outcome that the reply of a script or of a transaction means.
func outcomeOf(reply any) (outcome, error) {
	switch reply := reply.(type) {
	case int64:
		switch reply {
		case 1:
			return taken, nil
		case 0:
			return gone, nil
		}
	case []any:
		if len(reply) != 2 {
			break
		}
		switch added := reply[0].(type) {
		case nil:
			return gone, nil
		case string: // the id of the entry
			return taken, nil
		case error:
			return refused, added
		}
	}
	return foreign, nil // of claim.lua, these are the entries
}

func isRedirection(err error) bool {
	return err != nil && (redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK "))
}

// isTaken reports whether Redis refuses an entry because it has one with that id, or with a greater one.
func isTaken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "equal or smaller than the target stream top item")
}
