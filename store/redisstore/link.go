package redisstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// callers is how many calls may run at once, and waiters how many may block in Redis at once. Each call has a
// connection of its own.
const (
	callers = 256
	waiters = 8192
)

// tellAgainAfter is how long the link does not warn again of a Redis that comes and goes.
const tellAgainAfter = time.Minute

// errDown is the error of a call that is not attempted, because Redis could not be reached a moment ago.
var errDown = errors.New("Redis cannot be reached")

// link is the connection to Redis. After a call without an answer, no call is attempted until a heartbeat gets an
// answer. So nobody waits for a Redis that does not answer.
type link struct {
	calls  redis.UniversalClient // for calls that a visitor waits for
	waits  redis.UniversalClient // for calls that block in Redis
	own    redis.UniversalClient // for this instance's own calls, which no crowd of visitors must hold up
	logger *zap.Logger

	mu     sync.Mutex
	isDown bool
	told   time.Time // when the last warning was logged
	warned bool      // a warning was logged, and its end was not logged yet
}

func newLink(c *Redis) *link {
	calls, waits, own := c.options(), c.options(), c.options()
	calls.PoolSize = callers
	calls.MinIdleConns, calls.MaxIdleConns = 4, 64
	calls.PoolTimeout = countTime * 4 / 5 // less than countTime, so that a full pool is not taken for a slow Redis
	waits.PoolSize = waiters
	waits.MaxIdleConns = 16
	waits.ReadBufferSize, waits.WriteBufferSize = 4<<10, 1<<10 // there may be many connections
	own.PoolSize = 8
	return &link{
		calls:  redis.NewUniversalClient(calls),
		waits:  redis.NewUniversalClient(waits),
		own:    redis.NewUniversalClient(own),
		logger: c.logger,
	}
}

// call runs f, which calls Redis. It returns errDown, without running f, if Redis is down.
func (l *link) call(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	if l.down() {
		return errDown
	}
	return l.try(ctx, timeout, f)
}

// try runs f even if Redis is down. If f gets no answer from Redis, and ctx has not ended, Redis is down from then on.
// An error reply, or a long wait for a free connection, does not mean that Redis is down. The returned error quotes
// nothing of Redis.
func (l *link) try(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := f(bounded)
	switch {
	case err == nil, errors.Is(err, redis.Nil), errors.Is(err, redis.ErrPoolTimeout), ctx.Err() != nil:
	case isReply(err):
		l.refused(err)
	default:
		l.fail(err)
	}
	return causeOf(err)
}

// isReply reports whether err is an error reply of Redis. LOADING does not count as a reply, because Redis is not ready
// then.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok && !redis.IsLoadingError(err)
}

func (l *link) down() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isDown
}

// fail notes that Redis cannot be reached.
func (l *link) fail(err error) {
	metrics.failures.Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isDown {
		l.isDown = true
		l.tell(err)
	}
}

// refused notes that Redis refuses a command.
func (l *link) refused(err error) {
	metrics.failures.Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(err)
}

// tell logs err as a warning, or at debug level if there was a warning less than tellAgainAfter ago.
func (l *link) tell(err error) {
	level := zapcore.DebugLevel
	if time.Since(l.told) > tellAgainAfter {
		level, l.told, l.warned = zapcore.WarnLevel, time.Now(), true
	}
	if c := l.logger.Check(level, "Redis cannot be reached, or refuses what it is told"); c != nil {
		c.Write(zap.Error(causeOf(err)),
			zap.String("hint", "until it is well, answers can be resumed only at the instance that writes them, and each counts for itself"))
	}
}

// mend notes that Redis can be reached again.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isDown {
		return
	}
	l.isDown = false
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
	l.mu.Lock()
	l.isDown = true
	l.mu.Unlock()
	return errors.Join(l.calls.Close(), l.waits.Close(), l.own.Close())
}
