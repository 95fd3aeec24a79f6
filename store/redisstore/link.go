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

// callers is how many calls may go on at once, and waiters how many may wait in Redis, each on a connection of its own.
const (
	callers = 256
	waiters = 8192
)

// tellAgainAfter is how long the operator is not told again of a Redis that comes and goes.
const tellAgainAfter = time.Minute

// errDown is the error of what is not tried, because Redis could not be reached a moment ago.
var errDown = errors.New("Redis cannot be reached")

// link is the way to Redis. Once a call has got no answer none is tried until a beat gets one: nobody is to wait for a Redis
// that does not answer.
type link struct {
	calls  redis.UniversalClient // for what visitors wait for
	waits  redis.UniversalClient // for calls that block
	own    redis.UniversalClient // for the instance's own, which no crowd of visitors is to hold back
	logger *zap.Logger

	mu     sync.Mutex
	isDown bool
	told   time.Time // of trouble
	warned bool      // of trouble that has not been said to be over
}

func newLink(c *Redis) *link {
	calls, waits, own := c.options(), c.options(), c.options()
	calls.PoolSize = callers
	calls.MinIdleConns, calls.MaxIdleConns = 4, 64
	calls.PoolTimeout = countTime * 4 / 5 // so that it is known what took so long
	waits.PoolSize = waiters
	waits.MaxIdleConns = 16
	waits.ReadBufferSize, waits.WriteBufferSize = 4<<10, 1<<10 // there may be many
	own.PoolSize = 8
	return &link{
		calls:  redis.NewUniversalClient(calls),
		waits:  redis.NewUniversalClient(waits),
		own:    redis.NewUniversalClient(own),
		logger: c.logger,
	}
}

// call calls Redis, unless it is down.
func (l *link) call(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	if l.down() {
		return errDown
	}
	return l.try(ctx, timeout, f)
}

// try calls Redis even if it is down. If no answer comes, and the caller has not left, it is. An answer that says no, or a crowd
// that waits for its turn, does not mean that.
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
	return err
}

// isReply reports whether Redis has answered with an error.
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

// refused notes that Redis refuses something.
func (l *link) refused(err error) {
	metrics.failures.Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(err)
}

// tell tells the operator, once for what lasts.
func (l *link) tell(err error) {
	level := zapcore.DebugLevel
	if time.Since(l.told) > tellAgainAfter {
		level, l.told, l.warned = zapcore.WarnLevel, time.Now(), true
	}
	if c := l.logger.Check(level, "Redis cannot be reached, or refuses what it is told"); c != nil {
		c.Write(zap.Error(withoutArguments(err)),
			zap.String("hint", "until it is well, answers can be resumed only at the instance that writes them, and each counts for itself"))
	}
}

// withoutArguments keeps what Redis repeats of a command that it does not know out of the log: an answer, and its id.
func withoutArguments(err error) error {
	if text, _, cut := strings.Cut(err.Error(), ", with args"); cut {
		return errors.New(text)
	}
	return err
}

// mend notes that Redis can be reached.
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

// close has nothing tried any more.
func (l *link) close() error {
	l.mu.Lock()
	l.isDown = true
	l.mu.Unlock()
	return errors.Join(l.calls.Close(), l.waits.Close(), l.own.Close())
}
