package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// tellAgainAfter is how long the link does not warn again of a Redis that comes and goes.
const tellAgainAfter = time.Minute

var (
	// errDown is the error of a call that is not attempted, because Redis could not be reached a moment ago.
	errDown = errors.New("Redis cannot be reached")

	// errCrowd is the error of a call for which too many other calls wait.
	errCrowd = errors.New("too many calls wait for Redis")
)

// link is the connection to Redis. It combines the calls of all visitors into few pipelines, so an instance needs few
// connections. A Redis Cluster has a shard for each of its masters; any other Redis is one shard. After a call without
// an answer, no call to its shard is attempted until a heartbeat gets an answer. So nobody waits for a Redis that does
// not answer.
type link struct {
	config *Redis
	logger *zap.Logger
	ctx    context.Context // ends when the link is closed
	cancel context.CancelFunc

	topology topology

	mu     sync.Mutex
	told   time.Time // when the last warning was logged
	warned bool      // a warning was logged, and its end was not logged yet
}

func newLink(c *Redis) *link {
	l := &link{config: c, logger: c.logger}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.topology.init(l)
	return l
}

// exec is like run, for calls in the lane of claims. No crowd of visitors may raise their number.
func (l *link) exec(ctx context.Context, key string, timeout time.Duration, fill func(context.Context, redis.Pipeliner)) error {
	return l.run(ctx, key, call{purpose: forClaims, timeout: timeout}, fill)
}

// read is like run, for calls that read streams of other instances. most is about how many bytes the replies have at
// most, or 0 if that is unknown.
func (l *link) read(ctx context.Context, key string, most int, fill func(context.Context, redis.Pipeliner)) error {
	return l.run(ctx, key, call{purpose: forReads, timeout: callTimeout, most: most}, fill)
}

// run adds commands to the next pipeline of the shard that has key, and waits for their replies. The lane and the
// timeout are those of c. It returns an error if the shard is down (errDown), if there was no answer, or if ctx ended.
// The caller must not read the commands then. The error of a single command is that command's own.
//
// All keys of the commands must be in the hash slot of key. The shard carries out calls with the same key and purpose
// in the order of run. If a connection breaks, it may carry out the commands twice, so they must be idempotent.
func (l *link) run(ctx context.Context, key string, c call, fill func(context.Context, redis.Pipeliner)) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return l.follow(ctx, key, l.commands(ctx, fill), func(s *shard, commands []redis.Cmder) error {
		answer := make(chan error, 1)
		c := c
		c.ctx, c.commands, c.done = ctx, commands, func(err error) { answer <- err }
		s.lane(key, c.purpose).add(&c)
		select {
		case err := <-answer:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// block runs commands that block in Redis, on a connection of their own. Otherwise it is like exec. It does not mark
// the shard as down, because the heartbeats notice a dead shard sooner.
func (l *link) block(ctx context.Context, key string, timeout time.Duration, fill func(context.Context, redis.Pipeliner)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return l.follow(ctx, key, l.commands(ctx, fill), func(s *shard, commands []redis.Cmder) error {
		return s.block(ctx, commands)
	})
}

// commands returns the commands that fill adds.
func (l *link) commands(ctx context.Context, fill func(context.Context, redis.Pipeliner)) []redis.Cmder {
	pipe := l.topology.seed.client.Pipeline()
	fill(ctx, pipe)
	return pipe.Cmds()
}

// maxRedirects is how often a call follows the redirections of a Redis Cluster.
const maxRedirects = 4

// follow runs commands at the shard that has key. It runs commands again that the shard redirects to another one, and
// tells of commands that Redis refuses.
func (l *link) follow(ctx context.Context, key string, commands []redis.Cmder, run func(*shard, []redis.Cmder) error) error {
	if len(commands) == 0 {
		return nil
	}
	s, rest := l.topology.shardOf(key), commands
	for n := 0; len(rest) > 0 && n < maxRedirects; n++ {
		if s.down() {
			return errDown
		}
		switch err := run(s, rest); {
		case err == nil:
			s, rest = l.topology.redirect(ctx, key, rest)
		case errors.Is(err, errGone) && n < maxRedirects-1:
			s = l.topology.shardOf(key)
		default:
			return causeOf(err)
		}
	}
	for _, c := range commands {
		if isRefusal(c.Err()) {
			l.refused(c.Err())
			break
		}
	}
	return nil
}

// script is like runScript, for calls in the lane of claims. No crowd of visitors may raise their number.
func (l *link) script(ctx context.Context, key string, timeout time.Duration, script *redis.Script, keys []string, args ...any) (any, error) {
	return l.runScript(ctx, key, call{purpose: forClaims, timeout: timeout}, script, keys, args...)
}

// runScript runs a script at the shard that has key, like run. It sends the script's text only if Redis may not know
// the script yet. The returned error may also be the reply of Redis.
func (l *link) runScript(ctx context.Context, key string, c call, script *redis.Script, keys []string, args ...any) (any, error) {
	for tries := 0; ; tries++ {
		s := l.topology.shardOf(key)
		var reply *redis.Cmd
		err := l.run(ctx, key, c, func(ctx context.Context, p redis.Pipeliner) {
			reply = s.evaluate(ctx, p, script, keys, args)
		})
		if err != nil {
			return nil, err
		}
		if s.knows(script, reply.Err()) || tries > 0 {
			value, err := reply.Result()
			return value, causeOf(err)
		}
	}
}

// later runs a script like runScript, but does not wait for the reply. It calls done with the error, or nil.
func (l *link) later(ctx context.Context, key string, c call, script *redis.Script, keys []string, args []any, done func(error)) {
	s := l.topology.shardOf(key)
	if s.down() {
		done(errDown)
		return
	}
	bounded, cancel := context.WithTimeout(ctx, c.timeout)
	commands := l.commands(bounded, func(ctx context.Context, p redis.Pipeliner) { s.evaluate(ctx, p, script, keys, args) })
	queued := c
	queued.ctx, queued.commands, queued.done = bounded, commands, func(err error) {
		cancel()
		if errors.Is(err, errGone) || err == nil && (!s.knows(script, commands[0].Err()) || commands[0].Err() != nil) {
			go func() { // another shard has the key, or this one has lost the script
				_, err := l.runScript(ctx, key, c, script, keys, args...)
				done(err)
			}()
			return
		}
		done(causeOf(err))
	}
	s.lane(key, c.purpose).add(&queued)
}

// shardOf returns the shard that has key.
func (l *link) shardOf(key string) *shard { return l.topology.shardOf(key) }

// down reports whether the shard that has key is down.
func (l *link) down(key string) bool { return l.topology.shardOf(key).down() }

// allDown reports whether every shard is down.
func (l *link) allDown() bool {
	for _, s := range l.topology.all() {
		if !s.down() {
			return false
		}
	}
	return true
}

// anyDown reports whether a shard is down.
func (l *link) anyDown() bool {
	for _, s := range l.topology.all() {
		if s.down() {
			return true
		}
	}
	return false
}

// isReply reports whether err is an error reply of Redis. LOADING does not count as a reply, because Redis is not ready
// then.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok && !redis.IsLoadingError(err)
}

// isRefusal reports whether err means that Redis refuses a command, and not what the caller or the link expects.
func isRefusal(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) || !isReply(err) || isTaken(err) || redis.HasErrorPrefix(err, "NOSCRIPT") {
		return false
	}
	return true
}

// The hints for the operator. An operator must know that an instance goes on without Redis, and what a Redis Cluster
// needs.
const (
	hintAlone   = "until Redis works again, answers can be resumed only at the instance that writes them, and each instance counts for itself"
	hintCluster = "this is a Redis Cluster (see the option cluster): each node must be reachable at the address that it tells the others, " +
		"and the user needs +cluster|slots; " + hintAlone
	hintNoCluster = "this is not a Redis Cluster: configure one address and leave out the option cluster; " + hintAlone
)

// hint returns the hint for an error.
func (l *link) hint(err error) string {
	switch {
	case strings.Contains(err.Error(), noCluster):
		return hintNoCluster
	case l.topology.isCluster():
		return hintCluster
	}
	return hintAlone
}

// refused notes that Redis refuses a command.
func (l *link) refused(err error) {
	metrics.failures.Inc()
	l.tell(err)
}

// tell logs err as a warning, or at debug level if there was a warning less than tellAgainAfter ago.
func (l *link) tell(err error) {
	hint := l.hint(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	level := zapcore.DebugLevel
	if time.Since(l.told) > tellAgainAfter {
		level, l.told, l.warned = zapcore.WarnLevel, time.Now(), true
	}
	if c := l.logger.Check(level, "Redis cannot be reached, or refuses a command"); c != nil {
		c.Write(zap.Error(causeOf(err)), zap.String("hint", hint))
	}
}

// tellWell logs that all shards can be reached again, if a warning was logged before.
func (l *link) tellWell() {
	if l.anyDown() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	level := zapcore.DebugLevel
	if l.warned {
		level, l.warned = zapcore.InfoLevel, false
	}
	if c := l.logger.Check(level, "Redis can be reached again"); c != nil {
		c.Write()
	}
}

// close closes all connections. No call is attempted afterwards.
func (l *link) close() error {
	l.cancel()
	return l.topology.close()
}
