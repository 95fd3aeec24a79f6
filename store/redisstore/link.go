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

// waiters is how many calls may wait in Redis at once, each on a connection of its own.
const waiters = 8192

// tellAgainAfter is how long the operator is not told again of a Redis that comes and goes.
const tellAgainAfter = time.Minute

// errDown is the error of what is not tried, because Redis could not be reached a moment ago.
var errDown = errors.New("Redis cannot be reached")

// link is the way to Redis. Once a call has failed none is tried until a beat gets through: nobody is to wait for a Redis
// that does not answer.
type link struct {
	calls  redis.UniversalClient
	waits  redis.UniversalClient // for calls that block
	logger *zap.Logger

	mu     sync.Mutex
	isDown bool
	told   time.Time // of that
}

func newLink(c *Redis) *link {
	blocking := c.options()
	blocking.PoolSize = waiters
	blocking.MaxIdleConns = 16
	blocking.ReadBufferSize, blocking.WriteBufferSize = 4<<10, 1<<10 // there may be many
	return &link{
		calls:  redis.NewUniversalClient(c.options()),
		waits:  redis.NewUniversalClient(blocking),
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

// try calls Redis even if it is down. A failure that is not the caller's leaving means that it is.
func (l *link) try(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := f(bounded)
	if err != nil && !errors.Is(err, redis.Nil) && ctx.Err() == nil {
		l.fail(err)
	}
	return err
}

func (l *link) down() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isDown
}

func (l *link) fail(err error) {
	metrics.failures.Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isDown {
		return
	}
	l.isDown = true
	level := zapcore.WarnLevel
	if time.Since(l.told) < tellAgainAfter {
		level = zapcore.DebugLevel
	} else {
		l.told = time.Now()
	}
	if c := l.logger.Check(level, "Redis cannot be reached, or refuses what it is told"); c != nil {
		c.Write(zap.Error(err),
			zap.String("hint", "until it can, answers can be resumed only at the instance that writes them, and each counts for itself"))
	}
}

// mend notes that Redis can be reached.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isDown {
		return
	}
	l.isDown = false
	if c := l.logger.Check(zapcore.InfoLevel, "Redis can be reached again"); c != nil {
		c.Write()
	}
}

// close has nothing tried any more.
func (l *link) close() error {
	l.mu.Lock()
	l.isDown = true
	l.mu.Unlock()
	return errors.Join(l.calls.Close(), l.waits.Close())
}
