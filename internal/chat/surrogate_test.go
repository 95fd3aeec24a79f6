package chat

import (
	"strings"
	"testing"
)

func TestReplaceHalfPairs(t *testing.T) {
	for in, want := range map[string]string{
		``:                     ``,
		`no escape`:            `no escape`,
		`"\ud83d"`:             `"\ufffd"`,
		`"\uD83D"`:             `"\ufffd"`,
		`"\ude42"`:             `"\ufffd"`,
		`"\ud800"`:             `"\ufffd"`,
		`"\udbff"`:             `"\ufffd"`,
		`"\udc00"`:             `"\ufffd"`,
		`"\udfff"`:             `"\ufffd"`,
		`"\ud7ff\ue000"`:       `"\ud7ff\ue000"`,
		`"\ud83d\ude42"`:       `"\ud83d\ude42"`,
		`"\uD83D\uDe42"`:       `"\uD83D\uDe42"`,
		`"\udbff\udfff"`:       `"\udbff\udfff"`,
		`"\ude42\ud83d"`:       `"\ufffd\ufffd"`,
		`"\ud83d\ud83d\ude42"`: `"\ufffd\ud83d\ude42"`,
		`"\ud83d\ude42\ude42"`: `"\ud83d\ude42\ufffd"`,
		`"\ud83d\u0041"`:       `"\ufffd\u0041"`,
		`"\ud83dx\ude42"`:      `"\ufffdx\ufffd"`,
		`"\ud83d\n"`:           `"\ufffd\n"`,
		`"\ud83d\\ude42"`:      `"\ufffd\\ude42"`,
		`"\ud83d🙂"`:            `"\ufffd🙂"`,
		`"\\ud83d"`:            `"\\ud83d"`, // a backslash, and letters
		`"\\\ud83d"`:           `"\\\ufffd"`,
		`"\\\\ud83d"`:          `"\\\\ud83d"`,
		`"\"\ud83d"`:           `"\"\ufffd"`,
		`"\Ud83d"`:             `"\Ud83d"`, // no JSON
		`"\ud83"`:              `"\ud83"`,
		`"\u+83d"`:             `"\u+83d"`,
		`"\ud_3d"`:             `"\ud_3d"`,
		`\ud83d`:               `\ufffd`,
		`\ud83`:                `\ud83`,
		`\u`:                   `\u`,
		`\`:                    `\`,
		`\\`:                   `\\`,
		"\"\xed\xa0\xbd\"":     "\"\xed\xa0\xbd\"", // a half that is no escape is not UTF-8
		"\"\xff\\ud83d\"":      "\"\xff\\ufffd\"",
	} {
		body := []byte(in)
		replaceHalfPairs(body)
		if string(body) != want {
			t.Errorf("%s becomes %s, want %s", in, body, want)
		}
	}
}

// A body costs no allocation, not even one of many halves.
func TestReplaceHalfPairsDoesNotAllocate(t *testing.T) {
	body := []byte(strings.Repeat(`\ud83d\n\ud83d\ude42\uzzzz text `, 1000))
	if n := testing.AllocsPerRun(10, func() { replaceHalfPairs(body) }); n != 0 {
		t.Errorf("there are %v allocations", n)
	}
}
