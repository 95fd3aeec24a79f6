package redisstore

import (
	"cmp"
	_ "embed"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// countTime bounds a call that counts, because a visitor waits for it.
	countTime = 250 * time.Millisecond

	// After settled, a call without an answer has had its effect, or never will. The script enter.lua ignores a call
	// that is more than two seconds old.
	settled = 3 * time.Second
)

var (
	//go:embed common.lua
	commonLua string
	//go:embed enter.lua
	enterLua string
	//go:embed leave.lua
	leaveLua string
	//go:embed cooldown.lua
	coolDownLua string
	//go:embed turn.lua
	turnLua string
	//go:embed again.lua
	againLua string
	//go:embed beat.lua
	beatLua string

	enterScript    = redis.NewScript(commonLua + enterLua)
	leaveScript    = redis.NewScript(commonLua + leaveLua)
	coolDownScript = redis.NewScript(commonLua + coolDownLua)
	turnScript     = redis.NewScript(commonLua + turnLua)
	againScript    = redis.NewScript(commonLua + againLua)
	beatScript     = redis.NewScript(commonLua + beatLua)
)

// The verdicts of enter.lua and again.lua, by the numbers that the scripts use.
const (
	verdictLate = iota
	verdictRefused
	verdictCooling
	verdictTaken
	verdictAdmitted
	verdictAlone
	verdictFull
)

var (
	errLate  = errors.New("the call to Redis was too late")
	errReply = errors.New("Redis sent a reply of an unexpected form")
)

// All keys of one call must be in one hash slot of a Redis Cluster. Assistants, clients and the keys of limits are
// hashed, so that no key is long or shows a visitor's address.

func (k keys) coolDown(assistant string) string { return k.shared("cooldown:" + hash(assistant)) }
func (k keys) instances() string                { return k.shared("instances") }
func (k keys) requests(client string) string    { return k.shared("client:" + hash(client)) }
func (k keys) mark(name string) string          { return k.shared("request:" + name) }
func (k keys) limit(key string) string          { return k.shared("limit:" + hash(key)) }

// counts returns a call that counts.
func (s *redisStore) counts() call { return call{purpose: forCounts, timeout: s.countTime} }

// count runs a script. Calls with the same key stay in order. It does not use the visitor's context: if a leaving
// visitor canceled the call, its effect would be unknown.
func (s *redisStore) count(key string, script *redis.Script, keys []string, args ...any) ([]int64, error) {
	reply, err := s.link.runScript(s.ctx, key, s.counts(), script, keys, args...)
	if err != nil {
		return nil, err
	}
	all, err := numbers(reply)
	if err != nil {
		s.link.refused(err)
	}
	return all, err
}

// numbers returns the numbers of a reply. Some servers send them as floats or as text.
func numbers(reply any) ([]int64, error) {
	values, ok := reply.([]any)
	if !ok {
		return nil, errReply
	}
	all := make([]int64, len(values))
	for i, value := range values {
		n, err := number(value)
		if err != nil {
			return nil, err
		}
		all[i] = n
	}
	return all, nil
}

// number returns the number that a reply is.
func number(reply any) (int64, error) {
	switch n := reply.(type) {
	case int64:
		return n, nil
	case float64:
		return int64(n), nil
	case string:
		if f, err := strconv.ParseFloat(n, 64); err == nil {
			return int64(f), nil
		}
	}
	return 0, errReply
}

// leavingTime is how long a client that has too many streams waits, because one of them may have ended at another instance
// a moment ago. An instance does not wait until Redis knows of the end.
const leavingTime = 20 * time.Millisecond

// Reserve asks Redis for room for a request, in one call. A client that has too many streams is asked about once more.
func (s *redisStore) Reserve(e store.Request) (store.Decision, error) {
	decision, isFull, err := s.reserve(e)
	if isFull {
		time.Sleep(leavingTime)
		decision, _, err = s.reserve(e)
	}
	return decision, err
}

// reserve asks Redis once. isFull reports whether only the client's other streams leave no room.
func (s *redisStore) reserve(e store.Request) (d store.Decision, isFull bool, err error) {
	reservation := newReservation(s, &e)
	if !e.Listens && !reservation.counted && len(e.Limits) == 0 {
		cools, err := s.coolDowns.look(reservation.coolDown)
		switch {
		case err != nil:
			return d, false, err
		case !cools:
			return store.Decision{Reservation: reservation}, false, nil
		}
	}
	reply, err := s.enter(reservation, &e)
	if err == nil {
		if d, err = reservation.decide(reply); err == nil {
			return d, reply[0] == verdictFull, nil
		}
	}
	if errors.Is(err, errDown) || errors.Is(err, errLate) {
		return store.Decision{}, false, err
	}
	if reservation.counted {
		s.counting.leftOver(reservation.place, settled)
	}
	if !e.Listens {
		s.counting.overLater(e.ID, reservation.coolDown, false, settled)
	}
	return store.Decision{}, false, err
}

// enter runs enter.lua.
func (s *redisStore) enter(reservation *reservation, e *store.Request) ([]int64, error) {
	keys := append([]string{reservation.coolDown, s.keys.instances(), reservation.place.key, reservation.mark}, reservation.limitKeys()...)
	args := []any{e.ID, s.instance, s.counting.now(), e.MaxPerClient, listensTo(e)}
	for i := range e.Limits {
		args = append(args, reservation.limits[i].length, e.Limits[i].Requests)
	}
	return s.count(reservation.place.key, enterScript, keys, args...)
}

// listensTo returns the argument that tells enter.lua whether a request listens, and to which stream.
func listensTo(e *store.Request) string {
	if !e.Listens {
		return ""
	}
	return cmp.Or(e.Follows, "-")
}

// CoolDown begins an assistant's cool-down for all instances, if Redis can be reached.
func (s *redisStore) CoolDown(assistant string, wait time.Duration) {
	key := s.keys.coolDown(assistant)
	_, _ = s.count(key, coolDownScript, []string{key}, wait.Microseconds(), s.counting.now()) // the link logs a failure
}

// reservation is the room of an admitted request.
type reservation struct {
	store    *redisStore
	id       string
	mark     string // the key by which Redis knows a repeated call; not by the id, because a page may use one again
	coolDown string // the key of the assistant's cool-down
	place    field  // the request among those of its client
	counted  bool   // place is used
	alone    bool   // the request is the probe
	limits   []limit
}

// limit is one of the limits that a request counts in.
type limit struct {
	key    string
	length int64 // of the window, in microseconds
	window int64 // the number of the window in which the request was counted
}

func newReservation(s *redisStore, e *store.Request) *reservation {
	t := &reservation{
		store:    s,
		id:       e.ID,
		mark:     s.keys.mark(newInstance()),
		coolDown: s.keys.coolDown(e.Assistant),
		place:    field{s.keys.requests(e.Client), e.ID},
		counted:  e.MaxPerClient > 0,
		limits:   make([]limit, len(e.Limits)),
	}
	for i, l := range e.Limits {
		t.limits[i] = limit{key: s.keys.limit(l.Window.String() + " " + l.Key), length: l.Window.Microseconds()}
	}
	return t
}

func (t *reservation) limitKeys() []string {
	keys := make([]string, len(t.limits))
	for i, l := range t.limits {
		keys[i] = l.key
	}
	return keys
}

// decide reads the reply of enter.lua.
func (t *reservation) decide(reply []int64) (r store.Decision, err error) {
	if len(reply) < 2 {
		return r, errReply
	}
	verdict := reply[0]
	if verdict == verdictLate {
		return r, errLate
	}
	if r, cooling := coolDownDecision(reply); cooling {
		return r, nil
	}
	if r.Usage, err = t.usage(reply[2:]); err != nil || verdict == verdictRefused || verdict == verdictFull {
		return r, err
	}
	t.alone = verdict == verdictAlone
	r.Probe, r.Reservation = t.alone, t
	return r, nil
}

// usage reads the counts of each limit, and notes in which window each was counted.
func (t *reservation) usage(reply []int64) ([]store.Usage, error) {
	const fields = 4
	if len(reply) != fields*len(t.limits) {
		return nil, errReply
	}
	usage := make([]store.Usage, len(t.limits))
	for i := range usage {
		f := reply[fields*i:]
		t.limits[i].window = f[0]
		usage[i] = store.Usage{Now: uint64(f[1]), Prev: uint64(f[2]), Elapsed: time.Duration(f[3]) * time.Microsecond}
	}
	return usage, nil
}

// EndTurn tells Redis that the turn of the probe has ended. If Redis cannot be reached, a later heartbeat does so.
func (t *reservation) EndTurn(answered bool) {
	if !t.alone {
		return
	}
	t.alone = false
	if _, err := t.store.count(t.coolDown, turnScript, []string{t.coolDown}, t.id, answered); err != nil {
		t.store.counting.overLater(t.id, t.coolDown, answered, 0)
	}
}

// NextTurn asks whether the request may be sent upstream for another attempt.
func (t *reservation) NextTurn() (store.Decision, error) {
	reply, err := t.store.count(t.coolDown, againScript, []string{t.coolDown, t.store.keys.instances()}, t.id, t.store.instance)
	switch {
	case err != nil:
		if !errors.Is(err, errDown) {
			t.store.counting.overLater(t.id, t.coolDown, false, settled)
		}
		return store.Decision{}, err
	case len(reply) != 2:
		return store.Decision{}, errReply
	}
	r, cooling := coolDownDecision(reply)
	if !cooling {
		t.alone = reply[0] == verdictAlone
		r.Probe, r.Reservation = t.alone, t
	}
	return r, nil
}

// coolDownDecision reads from a reply whether a cool-down holds the request back. It returns the decision if so.
func coolDownDecision(reply []int64) (r store.Decision, cooling bool) {
	switch reply[0] {
	case verdictCooling:
		return store.Decision{CoolDown: time.Duration(reply[1]) * time.Microsecond}, true
	case verdictTaken:
		return store.Decision{Probe: true}, true
	}
	return r, false
}

// Release frees the room of the request. It makes a call only if there is something to free. The visitor waits for it
// only if the reply matters: if the request no longer counts in its limits. Otherwise, a later Reserve of the same
// client comes after it nevertheless, because the link keeps their order.
func (t *reservation) Release(reached bool) []store.Usage {
	t.EndTurn(false)
	if reached {
		if t.counted {
			t.store.counting.leave(t)
		}
		return nil
	}
	keys, args := append([]string{t.place.key, t.mark}, t.limitKeys()...), []any{t.id}
	for _, l := range t.limits {
		args = append(args, l.length, l.window)
	}
	if !t.counted && len(t.limits) == 0 {
		return nil
	}
	reply, err := t.store.count(t.place.key, leaveScript, keys, args...)
	if err != nil {
		// The counts of limits stay as they are, because Redis may have reduced them already.
		if t.counted {
			t.store.counting.leftOver(t.place, 0)
		}
		return nil
	}
	usage, _ := t.usage(reply) // nil if the reply is malformed
	return usage
}

// Interface guards
var (
	_ store.Counter     = (*redisStore)(nil)
	_ store.Reservation = (*reservation)(nil)
)
