package config

// verdict says whether a made-up request matches.
type verdict int

const (
	no    verdict = iota
	maybe         // it depends on more than the made-up request has
	yes
	fails // the matcher ends the request with an error, as `try_files {path} =404` does
)

// and returns the verdict of two matchers that both have to match. Caddy evaluates the matchers of a set in any order, so
// one that does not match wins over one that fails.
func (v verdict) and(other verdict) verdict {
	switch {
	case v == no || other == no:
		return no
	case v == maybe || other == maybe:
		return maybe
	}
	return max(v, other)
}

// not returns the verdict of the opposite.
func (v verdict) not() verdict {
	switch v {
	case no:
		return yes
	case yes:
		return no
	}
	return v
}
