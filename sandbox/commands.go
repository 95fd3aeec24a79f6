package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultEvents = 3       // what an optional n is
	maxEvents     = 100_000 // the largest n
	maxBytes      = 16 << 20
)

// A Command makes the sandbox answer in another way. It is in the last user
// message: a word with a slash before it, and its arguments.
type Command struct {
	// Name is the word, without the slash.
	Name string

	// Args are the arguments: <required> and [optional] ones, separated by
	// spaces.
	Args string

	// Does says what the command does, in a sentence.
	Does string

	// A command has one of the two. The first kind shapes any answer, so
	// there can be several of them in a message; the second is the answer.
	shape  func(*stream, args)
	answer func(*reply, args)
}

// Usage is the command as one types it.
func (c Command) Usage() string {
	return strings.TrimSpace("/" + c.Name + " " + c.Args)
}

// Commands returns all commands, those that shape any answer first.
func Commands() []Command {
	return []Command{
		{Name: "slow", Args: "<duration>", Does: "Waits that long before the response headers.", shape: slow},
		{Name: "slow-first", Args: "<duration>", Does: "Sends the response headers at once and waits that long before the first event.", shape: slowFirst},
		{Name: "chunk", Args: "<bytes>", Does: "Writes the answer in chunks of that many bytes, even in the middle of an event.", shape: chunk},
		{Name: "drip", Args: "<bytes> <pause>", Does: "Writes such chunks and pauses after each.", shape: drip},
		{Name: "burst", Args: "<n>", Does: "Writes n events at once.", shape: burst},
		{Name: "comments", Args: "<n>", Does: "Sends n comments as keep-alives between two events.", shape: comments},
		{Name: "crlf", Does: "Ends the lines with CR LF.", shape: crlf},
		{Name: "cr", Does: "Ends the lines with CR.", shape: cr},
		{Name: "gzip", Does: "Compresses the stream with gzip, although the request does not accept it.", shape: gzipped},
		{Name: "type", Args: "[media-type]", Does: "Sends that Content-Type with the stream, or none.", shape: labelled},

		{Name: "help", Does: "Lists the commands.", answer: help},
		{Name: "turns", Does: "Lists the messages of this chat that the sandbox remembers.", answer: rememberedTurns},
		{Name: "events", Args: "<n>", Does: "Answers with n numbered text-delta events and a finish.", answer: numberedEvents},
		{Name: "large", Args: "<bytes>", Does: "Sends one event with that many bytes of text, and a finish.", answer: large},
		{Name: "length", Does: "Finishes with the finishReason length.", answer: finishLength},
		{Name: "error", Does: "Finishes with the finishReason error.", answer: finishError},

		{Name: "cut", Args: "[n]", Does: "Ends the response cleanly after n events (default 3), without a finish.", answer: cut},
		{Name: "torn", Args: "[n]", Does: "Ends the response cleanly in the middle of an event, after n events (default 3).", answer: torn},
		{Name: "no-blank", Does: "Ends the response without the blank line of the finish event.", answer: noBlank},
		{Name: "reset", Args: "[n]", Does: "Resets the connection after n events (default 3); with 0, before the response headers.", answer: reset},
		{Name: "stall", Args: "[n]", Does: "Sends nothing more after n events (default 3), until the client disconnects.", answer: stall},
		{Name: "silent", Does: "Sends no response until the client disconnects.", answer: silent},
		{Name: "hang", Does: "Sends the response headers, then nothing until the client disconnects.", answer: hang},
		{Name: "endless", Does: "Sends events without a finish until the client disconnects.", answer: endless},
		{Name: "endless-event", Does: "Sends one event that does not end until the client disconnects.", answer: endlessEvent},

		{Name: "two-finishes", Does: "Sends the finish event twice.", answer: twoFinishes},
		{Name: "talk-on", Args: "<duration>", Does: "Sends events for that long after the finish.", answer: talkOn},
		{Name: "quote-finish", Does: "Quotes a finish in a text and in a tool's arguments, and ends without a real one.", answer: quoteFinish},
		{Name: "bad-json", Does: "Begins with an event whose data is not JSON.", answer: badJSON},
		{Name: "multi-data", Does: "Begins with an event of several data lines.", answer: multiData},
		{Name: "extras", Does: "Begins with events that the API's documentation allows but does not list: another type, another field, and event, id and retry lines.", answer: extras},

		{Name: "status", Args: "<code> [retry-after]", Does: "Answers with that status (200 to 599), and with a Retry-After header in seconds or as a date. If the API does not document the status as an error, the body is a page of HTML.", answer: someStatus},
		{Name: "json", Does: "Answers 200 with one JSON object.", answer: jsonObject},
		{Name: "html", Does: "Answers 200 with a page of HTML.", answer: htmlPage},
		{Name: "redirect", Args: "[url]", Does: "Answers 302 with that Location, by default on another host.", answer: redirect},
		{Name: "no-content", Does: "Answers 204.", answer: noContent},

		{Name: "echo-token", Args: "[n]", Does: "Puts the API token into an event, after n events (default 3).", answer: echoToken},
		{Name: "echo-token-header", Does: "Puts the API token into the response header X-Token.", answer: echoTokenHeader},
		{Name: "echo-token-error", Does: "Puts the API token into the text of a 400.", answer: echoTokenError},
		{Name: "echo-token-json", Does: "Puts the API token into a JSON response.", answer: echoTokenJSON},
	}
}

// args are the arguments of a command, each in the field of its kind.
type args struct {
	n    int           // n, bytes, code
	wait time.Duration // duration, pause
	text string        // anything else
}

// A call is a command and the arguments that it was given.
type call struct {
	command Command
	args    args
}

// parseCalls reads what the user said as a line of commands. It returns none
// where the text does not begin with a slash.
func parseCalls(line string) ([]call, error) {
	if !strings.HasPrefix(line, "/") {
		return nil, nil
	}
	commands := Commands()
	var calls []call
	var answer string
	for words := strings.Fields(line); len(words) > 0; {
		name := words[0]
		i := slices.IndexFunc(commands, func(c Command) bool { return "/"+c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no command %s", name)
		}
		end := 1
		for end < len(words) && !strings.HasPrefix(words[end], "/") {
			end++
		}
		c := commands[i]
		a, err := c.parseArgs(words[1:end])
		if err != nil {
			return nil, fmt.Errorf("%w; the command is %s", err, c.Usage())
		}
		if c.answer != nil {
			if answer != "" {
				return nil, fmt.Errorf("%s and %s are two answers", answer, name)
			}
			answer = name
		}
		calls = append(calls, call{command: c, args: a})
		words = words[end:]
	}
	return calls, nil
}

// parseArgs reads the words after a command as its Args name them.
func (c Command) parseArgs(words []string) (args, error) {
	a := args{n: defaultEvents}
	for kind := range strings.FieldsSeq(c.Args) {
		if len(words) == 0 {
			if strings.HasPrefix(kind, "[") {
				return a, nil
			}
			return args{}, errors.New("an argument is missing")
		}
		var err error
		switch strings.Trim(kind, "<>[]") {
		case "n":
			a.n, err = number(words[0], 0, maxEvents)
		case "bytes":
			a.n, err = number(words[0], 1, maxBytes)
		case "code":
			a.n, err = number(words[0], 200, 599)
		case "duration", "pause":
			a.wait, err = duration(words[0])
		default: // the rest of the line: a date has spaces
			a.text = strings.Join(words, " ")
			words = words[len(words)-1:]
		}
		if err != nil {
			return args{}, err
		}
		words = words[1:]
	}
	if len(words) > 0 {
		return args{}, fmt.Errorf("%s is too much", words[0])
	}
	return a, nil
}

func number(word string, least, most int) (int, error) {
	n, err := strconv.Atoi(word)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s is no number from %d to %d", word, least, most)
	}
	return n, nil
}

func duration(word string) (time.Duration, error) {
	d, err := time.ParseDuration(word)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s is no duration such as 500ms or 2s", word)
	}
	return d, nil
}
