package config

import (
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// allowOrigin is the field that names the origin whose pages may read a response.
const allowOrigin = "Access-Control-Allow-Origin"

// keepAway is what to do about a directive that changes header fields of the chat.
const keepAway = "Exclude the chat's path from this directive with a matcher."

// checkHeader reports that a `header` writes the fields that the chat writes for pages of other origins.
func (e *examination) checkHeader(h *handler) {
	var config headers.Handler
	if !h.config(&config) || config.Response == nil || config.Response.HeaderOps == nil {
		return
	}
	fields := changed(config.Response.HeaderOps, func(name string) bool { return strings.HasPrefix(name, "Access-Control-") })
	if len(fields) == 0 {
		return
	}
	found := fmt.Sprintf("a `header` directive writes %s on the chat's answers, too", quoted(fields))
	last := config.Response.Deferred || config.Response.Require != nil
	switch {
	case len(e.options.AllowOrigins) == 0:
		e.add(doctor.Warning, "cors", found, "It lets no other page use the chat, which refuses pages of other origins.",
			keepAway+" If pages of another origin may chat, name it:\nallow_origins https://www.example.com")
	case !last: // the chat replaces them
	case slices.ContainsFunc(fields, includesAllowOrigin):
		e.checkAllowOrigin(config.Response.HeaderOps, found)
	default:
		e.add(doctor.Warning, "cors", found+", and runs after the chat", "The chat's own values are lost.", keepAway+" The chat writes these fields itself.")
	}
}

// includesAllowOrigin reports whether a name is that of the field, or one with a wildcard that matches it.
func includesAllowOrigin(name string) bool {
	beginning, isWild := strings.CutSuffix(name, "*")
	return name == allowOrigin || isWild && strings.HasPrefix(allowOrigin, beginning)
}

// checkAllowOrigin reports what a `header` that runs after the chat makes of the origin that the chat names.
func (e *examination) checkAllowOrigin(ops *headers.HeaderOps, found string) {
	const do = keepAway + " The chat writes these fields itself."
	set := valuesOf(ops.Set, allowOrigin)
	covers := func(origin string) bool {
		return slices.Equal(set, []string{"*"}) || slices.Equal(set, []string{origin})
	}
	switch {
	case valuesOf(ops.Add, allowOrigin) != nil:
		e.add(doctor.Wrong, "cors", found+", and runs after the chat", "Browsers keep an answer from a page if it has that field twice.", do)
	case slices.ContainsFunc(set, hasBrace):
		e.add(doctor.Warning, "cors", found+", and runs after the chat", "Browsers keep an answer from a page that it does not name.", do)
	case set == nil || !all(e.options.AllowOrigins, covers):
		e.add(doctor.Wrong, "cors", found+", and runs after the chat", "Browsers keep an answer from a page that it does not name.", do)
	}
}

// checkRequestHeader reports that a `request_header` changes the fields that the chat goes by.
func (e *examination) checkRequestHeader(h *handler) {
	var config headers.Handler
	if !h.config(&config) || config.Request == nil {
		return
	}
	fields := changed(config.Request, func(name string) bool {
		return name == "Origin" || name == "Content-Type" || name == "Host" || strings.HasPrefix(name, "Sec-Fetch-")
	})
	if len(fields) > 0 {
		e.add(doctor.Warning, "request_header", fmt.Sprintf("`request_header` changes %s before the chat", quoted(fields)),
			"The chat decides by these fields whether to accept a request.", keepAway)
	}
}

// changed returns the fields that operations change and that are of interest, sorted.
func changed(ops *headers.HeaderOps, isOfInterest func(name string) bool) []string {
	names := slices.Concat(slices.Collect(maps.Keys(ops.Add)), slices.Collect(maps.Keys(ops.Set)), ops.Delete, slices.Collect(maps.Keys(ops.Replace)))
	for i, name := range names {
		names[i] = textproto.CanonicalMIMEHeaderKey(name)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return !isOfInterest(name) })
}

// valuesOf returns the values of a field whose name may be written in any case.
func valuesOf(fields map[string][]string, name string) []string {
	for written, each := range fields {
		if textproto.CanonicalMIMEHeaderKey(written) == name {
			return each
		}
	}
	return nil
}

// quoted joins the names of fields.
func quoted(names []string) string {
	var each []string
	for _, name := range names {
		each = append(each, "`"+values.Printable(name)+"`")
	}
	return list(each)
}

func all(texts []string, test func(string) bool) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !test(text) })
}
