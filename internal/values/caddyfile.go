package values

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// This file reads the arguments of a line in a Caddyfile. Its errors name the surplus word, and show a correct line.

// NoArgs returns an error if the line has a further argument. instead says what to write.
func NoArgs(d *caddyfile.Dispenser, instead string) error {
	if d.NextArg() {
		return Surplus(d, d.Val(), instead)
	}
	return nil
}

// OneArg reads the only argument of the option at d. example is a correct line.
func OneArg(d *caddyfile.Dispenser, example string) (string, error) {
	if !d.NextArg() {
		return "", Missing(d, example)
	}
	word := d.Val()
	return word, NoArgs(d, "an example is: "+example)
}

// Missing returns the error for the option at d if it has too few arguments. example is a correct line.
func Missing(d *caddyfile.Dispenser, example string) error {
	return d.Errf("%s needs an argument; an example is: %s", d.Val(), example)
}

// Surplus returns the error for an argument too many. instead says what to write.
func Surplus(d *caddyfile.Dispenser, word, instead string) error {
	return d.Errf("unexpected argument '%s'; %s", Printable(word), instead)
}
