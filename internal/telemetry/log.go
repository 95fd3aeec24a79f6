package telemetry

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// repeatAfter is how long the operator is not told of the same trouble again.
const repeatAfter = time.Minute

// Log tell the operator what goes wrong. A fault that lasts concerns each chat: its first line has its level, and
// the others of the next minute are at debug. The next line at its level says how many those were.
type Log struct {
	logger *zap.Logger

	mu      sync.Mutex
	reports map[string]*report // by kind, of which there is a closed set
}

type report struct {
	at    time.Time
	since int // how often it was not told
}

// NewLog returns a log that writes to logger.
func NewLog(logger *zap.Logger) *Log { return &Log{logger: logger} }

// Logger returns what the log writes to, for lines that do not repeat.
func (t *Log) Logger() *zap.Logger { return t.logger }

// Report logs trouble of a kind, with what can be done about it.
func (t *Log) Report(level zapcore.Level, kind, message, hint string, fields ...zap.Field) {
	repeated, due := t.due(kind)
	if !due {
		level = zapcore.DebugLevel
	}
	c := t.logger.Check(level, message)
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

// due reports whether it is time to tell of a kind, and how often it was not told since the last time.
func (t *Log) due(kind string) (repeated int, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.reports[kind]
	now := time.Now()
	switch {
	case !known:
		if t.reports == nil {
			t.reports = make(map[string]*report)
		}
		t.reports[kind] = &report{at: now}
		return 0, true
	case now.Sub(last.at) < repeatAfter:
		last.since++
		return 0, false
	}
	repeated = last.since
	last.at, last.since = now, 0
	return repeated, true
}
