package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Log reports problems to the operator. A problem that lasts affects every chat, so only its first report is logged at
// its own level. Further reports within a minute are logged at debug. The next report at its own level says how many
// those were. When a part of the handler works again, the log says that once.
type Log struct {
	logger *zap.Logger

	mu      sync.Mutex
	repeats repeats
	outages map[scope]*outage
	broken  atomic.Int32 // the number of outages
}

// NewLog returns a log that writes to logger.
func NewLog(logger *zap.Logger) *Log { return &Log{logger: logger} }

// AddFields adds fields to all further lines. The caller calls it before others use l.
func (l *Log) AddFields(fields ...zap.Field) { l.logger = l.logger.With(fields...) }

// Logger returns the underlying logger, for lines that need no limit.
func (l *Log) Logger() *zap.Logger { return l.logger }

// Problem is a problem of a chat.
type Problem struct {
	Level   zapcore.Level
	Kind    string // what is wrong, and why; problems of the same kind count as one
	Message string
	Hint    string // what the operator can do; "" means that nothing is known
	Breaks  Part   // what does not work because of the problem; "" means none
}

// noChat stands for the record where a problem is not one chat's.
var noChat = new(Record)

// Report logs a problem that concerns no single assistant, at most once a minute at the given level for each kind. hint
// says what the operator can do about it; it may be empty.
func (l *Log) Report(level zapcore.Level, kind, message, hint string, fields ...zap.Field) {
	l.ReportChat(noChat, Problem{Level: level, Kind: kind, Message: message, Hint: hint}, fields...)
}

// ReportChat logs a problem of the chat that c records, with the chat's assistant. It logs at most once a minute at the
// problem's level for each kind. Problems that break Answers count for each assistant by itself. A problem below warn is
// no problem of the operator's, so ReportChat neither counts it nor adds the hint.
func (l *Log) ReportChat(c *Record, p Problem, fields ...zap.Field) {
	level, hint, repeated := p.Level, p.Hint, 0
	if level < zapcore.WarnLevel {
		hint = ""
	} else if again, due := l.note(scopeOf(c, p.Breaks), p.Kind); due {
		repeated = again
	} else {
		level = zapcore.DebugLevel
	}
	if line := l.logger.Check(level, p.Message); line != nil {
		line.Write(append(fields, c.AssistantField(), hintField(hint), repeatedField(repeated))...)
	}
}

// note counts a problem. It reports whether the problem is due at its own level, and how many of its kind were logged at
// debug since the last one that was due.
func (l *Log) note(s scope, what string) (repeated int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	repeated, due = l.repeats.due(kind{s, what}, now)
	if s.part != "" {
		l.noteOutage(s, now, due)
	}
	return repeated, due
}

func hintField(hint string) zap.Field {
	if hint == "" {
		return zap.Skip()
	}
	return zap.String("hint", hint)
}

func repeatedField(repeated int) zap.Field {
	if repeated == 0 {
		return zap.Skip()
	}
	return zap.Int("repeated", repeated)
}
