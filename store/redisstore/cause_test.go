package redisstore

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// refusal is an error reply of Redis.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

// The log says why Redis refuses a command, and quotes no argument.
func TestCauses(t *testing.T) {
	for want, err := range map[string]error{
		"Redis replied NOPERM: the user lacks a permission (xadd)":                 refusal("NOPERM User default has no permissions to run the 'xadd' command"),
		"Redis replied NOPERM: the user lacks a permission":                        refusal("NOPERM No permissions to access a key 'private'"),
		"Redis replied ERR: unknown command (XADD)":                                refusal("ERR unknown command 'XADD', with args beginning with: 'private' "),
		"Redis replied ERR: unknown command":                                       refusal("ERR unknown command 'private words', with args beginning with: 'private' "),
		"Redis replied ERR: unknown command in a script":                           refusal("ERR Unknown Redis command called from script script: private, on @user_script:1."),
		"Redis replied ERR: the user lacks a permission for a command in a script": refusal("ERR The user executing the script can't run this command or subcommand script: private"),
		"Redis replied WRONGPASS: the user or the password is wrong":               refusal("WRONGPASS invalid username-password pair or user is disabled."),
		"Redis replied ERR":           fmt.Errorf("private: %w", refusal("ERR private")),
		"Redis replied MOVED":         refusal("MOVED 1 private:6379"),
		"Redis replied with an error": refusal("private"),
		"unexpected EOF":              fmt.Errorf("private: %w", io.ErrUnexpectedEOF),
		errDown.Error():               errDown,
		errLate.Error():               fmt.Errorf("private: %w", errLate),
		redis.ErrPoolTimeout.Error():  redis.ErrPoolTimeout,
		"an error of an unknown kind (*errors.errorString)": errors.New("private"),
	} {
		got := causeOf(err)
		if got.Error() != want || !errors.Is(got, err) {
			t.Errorf("%q: got %q, want %q", err, got, want)
		}
	}
	if err := causeOf(nil); err != nil {
		t.Errorf("nil becomes %v", err)
	}
}

// A message of the Redis library has no value that Redis may have sent.
func TestPrintable(t *testing.T) {
	values := []any{"private", []byte("private"), errors.New("private"), refusal("ERR private"), 7, true, time.Second, []string{"private"}, nil}
	for i, value := range values {
		values[i] = printable(value)
	}
	const want = "(7 bytes) (7 bytes) an error of an unknown kind (*errors.errorString) Redis replied ERR 7 true 1s ([]string) <nil>"
	if got := strings.TrimSpace(fmt.Sprintln(values...)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What a call returns has the text of its cause, and can still be recognized.
func TestCallReturnsCause(t *testing.T) {
	l := newLink(&Redis{addresses: []string{"localhost:1"}, logger: zap.NewNop()})
	commands := []redis.Cmder{redis.NewCmd(t.Context())}
	err := l.follow(t.Context(), "", commands, func(*shard, []redis.Cmder) error { return refusal("ERR private") })
	if err == nil || !isReply(err) || strings.Contains(err.Error(), "private") {
		t.Errorf("got %v", err)
	}
}
