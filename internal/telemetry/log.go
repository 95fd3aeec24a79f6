package telemetry

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// repeatAfter is how long further reports of the same kind are logged at debug level only.
const repeatAfter = time.Minute

// Log reports problems to the operator. A problem that lasts affects every chat, so only its first report is logged at
// its own level. Further reports within a minute are logged at debug. The next report at its own level says how many
// those were.
type Log struct {
	logger *zap.Logger

	mu      sync.Mutex
	reports map[string]*report // by kind; the kinds are a closed set
}

type report struct {
	at    time.Time // when the last one was logged at its own level
	since int       // how many were logged at debug since then
}

// NewLog returns a log that writes to logger.
func NewLog(logger *zap.Logger) *Log { return &Log{logger: logger} }

// Logger returns the underlying logger, for lines that need no limit.
func (l *Log) Logger() *zap.Logger { return l.logger }

// Report logs a problem, at most once a minute at the given level for each kind. hint says what the operator can do
// about it; it may be empty.
func (l *Log) Report(level zapcore.Level, kind, message, hint string, fields ...zap.Field) {
	repeated, due := l.due(kind)
	if !due {
		level = zapcore.DebugLevel
	}
	c := l.logger.Check(level, message)
	if c == nil {
		return
	}
	if hint != "" {
		fields = append(fields, zap.String("hint", hint))
	}
	if repeated > 0 {
		fields = append(fields, zap.Int("repeated", repeated))
	}
	c.Write(fields...)
}

// due reports whether a report of a kind is due at its own level. repeated is how many were logged at debug since the
// last one that was.
func (l *Log) due(kind string) (repeated int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, known := l.reports[kind]
	now := time.Now()
	switch {
	case !known:
		if l.reports == nil {
			l.reports = make(map[string]*report)
		}
		l.reports[kind] = &report{at: now}
		return 0, true
	case now.Sub(last.at) < repeatAfter:
		last.since++
		return 0, false
	}
	repeated = last.since
	last.at, last.since = now, 0
	return repeated, true
}
