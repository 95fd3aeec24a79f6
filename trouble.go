package illumichat

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// tellAgainAfter is how long the operator is not told of the same trouble again.
const tellAgainAfter = time.Minute

// troubles tell the operator what goes wrong. A fault that lasts concerns each chat: its first line has its level, and
// the others of the next minute are at debug. The next line at its level says how many those were.
type troubles struct {
	logger *zap.Logger

	mu   sync.Mutex
	told map[string]*told // by kind, of which there is a closed set
}

type told struct {
	at    time.Time
	since int // how often it was not told
}

// tell logs trouble of a kind, with what can be done about it.
func (t *troubles) tell(level zapcore.Level, kind, message, hint string, fields ...zap.Field) {
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
func (t *troubles) due(kind string) (repeated int, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.told[kind]
	now := time.Now()
	switch {
	case !known:
		if t.told == nil {
			t.told = make(map[string]*told)
		}
		t.told[kind] = &told{at: now}
		return 0, true
	case now.Sub(last.at) < tellAgainAfter:
		last.since++
		return 0, false
	}
	repeated = last.since
	last.at, last.since = now, 0
	return repeated, true
}
