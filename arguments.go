package illumichat

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file reads the arguments of the directive's options: numbers, sizes, durations and words. Its errors name the wrong
// word and show a correct line.

func unmarshalSize(d *caddyfile.Dispenser, bytes *int64) error {
	name := d.Val()
	word, err := oneArg(d)
	if err != nil {
		return err
	}
	size, err := humanize.ParseBytes(word)
	if err != nil {
		return d.Errf("%s: '%s' is not a size, such as 1MiB", name, values.Printable(word))
	}
	if size == 0 || size > math.MaxInt64 {
		return d.Errf("%s: '%s' is out of range; write a size such as 1MiB", name, values.Printable(word))
	}
	if err := checkSize(int64(size)); err != nil {
		return d.Errf("%s: %w", name, err)
	}
	*bytes = int64(size)
	return nil
}

// unmarshalCount reads a whole number that is not negative; 0 means no limit.
func unmarshalCount(d *caddyfile.Dispenser, count *int) error {
	name := d.Val()
	word, err := oneArg(d)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 {
		return d.Errf("%s: '%s' is not a whole number of at least 0; %s", name, values.Printable(word), exampleOf(name))
	}
	*count = n
	return nil
}

func unmarshalDuration(d *caddyfile.Dispenser, option duration) error {
	word, err := oneArg(d)
	if err != nil {
		return err
	}
	example := "30s"
	switch {
	case word == "off" && option.mayBeOff:
		*option.value = off
		return nil
	case word == "off":
		return d.Errf("%s: 'off' is not possible here; %s", option.name, exampleOf(option.name))
	case option.mayBeOff:
		example = "30s, or off"
	}
	return parseDuration(d, option.name, word, example, option.value)
}

// parseDuration reads a positive duration. It refuses 0, because in JSON 0 means the default. example ends the error for a
// wrong word.
func parseDuration(d *caddyfile.Dispenser, name, word, example string, duration *caddy.Duration) error {
	value, err := caddy.ParseDuration(word)
	if err != nil {
		return d.Errf("%s: '%s' is not a duration, such as %s", name, values.Printable(word), example)
	}
	if value <= 0 {
		return d.Errf("%s: '%s' is not a positive duration, such as %s", name, values.Printable(word), example)
	}
	if err := checkDuration(caddy.Duration(value)); err != nil {
		return d.Errf("%s: %w", name, err)
	}
	*duration = caddy.Duration(value)
	return nil
}

// unmarshalWords appends one or more arguments to words. It returns an error if check rejects one of them.
func unmarshalWords(d *caddyfile.Dispenser, words *[]string, check func(string) error) error {
	name := d.Val()
	for d.NextArg() {
		if err := check(d.Val()); err != nil {
			return d.Errf("%s: %w", name, err)
		}
		*words = append(*words, d.Val())
	}
	if len(*words) == 0 {
		return values.Missing(d, exampleLine(name))
	}
	return nil
}

// oneArg reads the only argument of the option at d.
func oneArg(d *caddyfile.Dispenser) (string, error) {
	return values.OneArg(d, exampleLine(d.Val()))
}

// fewArgs reads the arguments of the option at d. It returns an error if there are fewer than least or more than most.
func fewArgs(d *caddyfile.Dispenser, least, most int) ([]string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	switch {
	case len(args) < least:
		return nil, d.Errf("%s has too few arguments; %s", name, exampleOf(name))
	case len(args) > most:
		return nil, values.Surplus(d, args[most], exampleOf(name))
	}
	return args, nil
}

// exampleOf returns the end of an error, which shows how an option is written.
func exampleOf(name string) string { return "an example is: " + exampleLine(name) }

// exampleLine returns a line of the Caddyfile with an option of any block.
func exampleLine(name string) string {
	return cmp.Or(examples[name], nestedExamples[blockOf(name)][name])
}

// examples has a line for each option of the block. Its keys are the options' names.
var examples = map[string]string{
	"token":                  "token {file./etc/caddy/illumichat_token}",
	"assistants":             "assistants asst_abc123",
	"alias":                  "alias support asst_abc123",
	"default_assistant":      "default_assistant support",
	"endpoint":               "endpoint " + upstream.DefaultEndpoint,
	"max_body_size":          "max_body_size 2MiB",
	"max_messages":           "max_messages 50",
	"roles":                  "roles user assistant",
	"pass_fields":            "pass_fields temperature",
	"allow_origins":          "allow_origins https://www.example.com",
	"limit":                  "limit 20 1h",
	"max_streams":            "max_streams 500",
	"max_streams_per_client": "max_streams_per_client 3",
	"body_timeout":           "body_timeout 30s",
	"response_timeout":       "response_timeout 60s",
	"commit_after":           "commit_after 5s",
	"idle_timeout":           "idle_timeout 60s",
	"write_timeout":          "write_timeout 30s",
	"max_duration":           "max_duration 5m",
	"heartbeat":              "heartbeat 15s",
	"retry":                  "retry",
	"propagate_trace":        "propagate_trace",
	"transport":              "transport http",
	"resume":                 "resume",
	"store":                  "store memory",
}

// synonyms maps names that options of other software have to ours.
var synonyms = map[string]string{
	"api_key": "token", "apikey": "token", "key": "token", "secret": "token", "bearer": "token",
	"url": "endpoint", "upstream": "endpoint", "to": "endpoint", "model": "assistants", "agent": "assistants",
	"cors": "allow_origins", "origins": "allow_origins", "timeout": "max_duration", "read_timeout": "response_timeout",
	"retries": "retry", "max_connections": "max_streams", "quota": "limit",
}

// didYouMean returns the end of an error about an unknown option: the option that may be meant, or nothing.
func didYouMean(name string, options []string) string {
	if meant := synonyms[strings.ToLower(name)]; slices.Contains(options, meant) {
		return "; did you mean " + meant + "?"
	}
	return values.DidYouMean(name, options...)
}

// blockOf returns the block in which an option belongs; "" if it belongs in none.
func blockOf(name string) string {
	for block, lines := range nestedExamples {
		if _, ok := lines[name]; ok {
			return block
		}
	}
	return ""
}

// unknownIn returns the error for the option at d, which a block does not have.
func unknownIn(d *caddyfile.Dispenser, block string) error {
	name := d.Val()
	if _, ok := examples[name]; ok {
		return d.Errf("unrecognized subdirective '%s' of %s; it belongs outside this block", name, block)
	}
	options := slices.Sorted(maps.Keys(nestedExamples[block]))
	return d.Errf("unrecognized subdirective '%s' of %s%s", values.Printable(name), block, values.DidYouMean(name, options...))
}

// nestedExamples has a line for each option of the blocks of retry and resume. No name is in both.
var nestedExamples = map[string]map[string]string{
	"retry": {
		"attempts": "attempts 3",
		"backoff":  "backoff 1s 8s",
		"on":       "on 429 500 502 503 504",
	},
	"resume": {
		"grace":     "grace 30s",
		"keep":      "keep 5m",
		"max_size":  "max_size 1MiB",
		"max_total": "max_total 64MiB",
		"owner":     "owner {http.auth.user.id}",
	},
}
