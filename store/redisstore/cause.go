package redisstore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/cause"
)

// causeOf returns err as it may be logged. Redis repeats arguments in its replies, and those may hold an answer and its
// id. So the text has only the reply's code, what that means, and the name of the command.
func causeOf(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{errDown, errCrowd, errLate, errReply, redis.Nil, redis.ErrClosed, redis.ErrPoolTimeout} {
		if errors.Is(err, known) {
			return cause.As(known.Error(), err)
		}
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		return cause.As(replyText(reply.Error()), err)
	}
	return cause.Of(err)
}

// replyCode matches the code at the beginning of an error reply.
var replyCode = regexp.MustCompile(`^[A-Z]{2,20}\b`)

// replyCommand matches the name of a command in an error reply.
var replyCommand = regexp.MustCompile(`(?:unknown command ['\x60]|run the ')([A-Za-z|]{2,20})['\x60]`)

// replyMeanings maps the code of an error reply to what it means. For ERR, the rest of the reply says what it means.
var replyMeanings = map[string]string{
	"BUSY":        "a script runs for too long",
	"CLUSTERDOWN": "the cluster is down",
	"CROSSSLOT":   "the keys are in several slots",
	"LOADING":     "Redis is still loading its data",
	"MASTERDOWN":  "the replica has no connection to its master",
	"MISCONF":     "Redis cannot save its data",
	"NOAUTH":      "a password is needed",
	"NOPERM":      "the user lacks a permission",
	"NOREPLICAS":  "there are too few replicas",
	"OOM":         "Redis has no memory left",
	"READONLY":    "this Redis is a read-only replica",
	"WRONGPASS":   "the user or the password is wrong",
	"WRONGTYPE":   "a key holds a value of another type",
}

// replyText returns the text for an error reply of Redis.
func replyText(reply string) string {
	code := replyCode.FindString(reply)
	if code == "" {
		return "Redis replied with an error"
	}
	text := "Redis replied " + code
	switch meaning := replyMeanings[code]; {
	case meaning != "":
		text += ": " + meaning
	case strings.Contains(reply, noCluster):
		text += ": " + noCluster
	case strings.HasPrefix(reply, "ERR unknown command"):
		text += ": unknown command"
	case strings.HasPrefix(reply, "ERR Unknown Redis command called from script"):
		text += ": unknown command in a script"
	case strings.HasPrefix(reply, "ERR The user executing the script can't run"), strings.HasPrefix(reply, "ERR ACL failure in script"):
		text += ": the user lacks a permission for a command in a script"
	}
	if match := replyCommand.FindStringSubmatch(reply); match != nil {
		text += " (" + match[1] + ")"
	}
	return text
}

// debugLogger logs the messages of the Redis library at debug level. The library also returns the important errors to
// its callers.
type debugLogger struct{}

// Printf logs a message. Its values may hold what Redis sent, so printable replaces them.
func (debugLogger) Printf(_ context.Context, format string, values ...any) {
	c := caddy.Log().Check(zap.DebugLevel, "the Redis client logs")
	if c == nil {
		return
	}
	if len(values) == 0 { // then the library has formatted the message itself, with its values as a JSON object
		format, _, _ = strings.Cut(format, "{")
		c.Write(zap.String("told", strings.TrimSpace(format)))
		return
	}
	shown := make([]any, len(values))
	for i, value := range values {
		shown[i] = printable(value)
	}
	c.Write(zap.String("told", fmt.Sprintf(format, shown...)))
}

// printable returns a value of a message as it may be logged: an error as its cause, and a number as it is. Any other
// value is replaced by its length or its type.
func printable(value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case error:
		return causeOf(v)
	case time.Duration:
		return v
	case string:
		return fmt.Sprintf("(%d bytes)", len(v))
	case []byte:
		return fmt.Sprintf("(%d bytes)", len(v))
	}
	if v := reflect.ValueOf(value); v.CanInt() || v.CanUint() || v.CanFloat() || v.Kind() == reflect.Bool {
		return value
	}
	return fmt.Sprintf("(%T)", value)
}
