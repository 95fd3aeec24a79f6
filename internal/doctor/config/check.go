package config

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// Options are the options of one of our handlers, with defaults in place of those that the operator left out.
type Options struct {
	// The error of a config that the handler cannot decode. If there is one, all else is empty.
	Undecodable error

	// The errors of its token, of its assistants and of anything else, as the handler itself would return them.
	Token, Assistants, Other error

	// Warnings are about values that the handler accepts, though they can hardly be meant.
	Warnings []Warning

	LiteralToken  bool // the token is part of the config
	RelativeToken bool // the path of the token's file is relative
	AnyAssistant  bool // visitors may talk to all assistants of the workspace
	AllowOrigins  []string
	Shown         string // its assistants, to tell it from other chats
	Limits        []Limit
	MaxDuration   time.Duration
	Resume        bool

	MaxStreamsPerClient int
}

// Warning says what was found, and what to write.
type Warning struct{ Found, Do string }

// Limit is a limit of a handler.
type Limit struct {
	ForMany      bool     // many visitors share a count
	Placeholders []string // of its key, without braces
}

// Inspect returns the options of a handler whose config is given. It sends nothing and joins nothing.
type Inspect func(json.RawMessage) Options

// Check reports what it finds in a config in Caddy's JSON. It returns an error if it cannot read the config.
func Check(config []byte, inspect Inspect, report doctor.Report) error {
	app, servers, err := decode(config)
	if err != nil {
		return err
	}
	c := checkup{inspect: inspect, report: report, local: true}
	for _, s := range servers {
		c.server(s)
	}
	c.nameAlike()
	for _, e := range c.examinations {
		e.run()
		c.local = c.local && e.local
	}
	elsewhere := c.checkPages(servers)
	if c.chats == 0 && elsewhere {
		return nil
	}
	if c.chats == 0 {
		report.Add(doctor.Finding{
			Level: doctor.Wrong, Check: "chat", Found: "the config has no illumichat directive", Why: "None of its sites has a chat.",
			Do: "Write it in the block of the site, for example:\nillumichat /api/chat-proxy {\n\ttoken {file./etc/caddy/illumichat_token}\n\tassistants asst_abc123\n}",
		})
		return nil
	}
	c.notes.report(report)
	checkGracePeriod(app, c.local, report)
	return nil
}

// checkup is the check of a whole config.
type checkup struct {
	inspect Inspect
	report  doctor.Report
	notes   notes
	chats   int  // how many there are
	local   bool // all of them are demos on this machine

	examinations []*examination
}

// server finds the chats of a server, and reports those that cannot be examined.
func (c *checkup) server(s *server) {
	chats, hidden, complete := find(s)
	if !complete {
		c.chats++
		c.local = false
		c.report.Add(doctor.Finding{
			Level: doctor.Skipped, Check: "chat", Where: s.place(), Do: askTheSite,
			Found: "its routes invoke each other too often for this check",
		})
		return
	}
	unused := uninvoked(s, chats)
	c.chats += len(chats) + len(hidden) + len(unused)
	for _, found := range chats {
		c.examinations = append(c.examinations, c.newExamination(found))
	}
	for _, h := range hidden {
		c.report.Add(doctor.Finding{
			Level: doctor.Skipped, Check: "chat", Where: s.place(), Do: askTheSite,
			Found: "there is an `illumichat` inside `" + h.directive() + "`, where this check cannot follow a request",
		})
		c.local = false
	}
	for _, name := range unused {
		name = values.Printable(name)
		c.report.Add(doctor.Finding{
			Level: doctor.Wrong, Check: "reachable", Where: s.place(),
			Found: "the chat in the named route `&(" + name + ")` is not reached, because no site invokes the route",
			Do:    "Write `invoke " + name + "` in the site.",
		})
		c.local = false
	}
}

// nameAlike adds the assistants to the names of chats that would have the same name.
func (c *checkup) nameAlike() {
	for _, e := range c.examinations {
		alike := func(other *examination) bool { return other.where == e.where && other.options.Shown != e.options.Shown }
		if e.options.Shown != "" && slices.ContainsFunc(c.examinations, alike) {
			e.name = " (" + e.options.Shown + ")"
		}
	}
	for _, e := range c.examinations {
		e.where += e.name
	}
}

// notes collects findings that many chats have in common, so that each is reported once.
type notes []note

// note is a finding about several places.
type note struct {
	places  []string
	finding doctor.Finding
}

func (n *notes) add(place string, f doctor.Finding) {
	i := slices.IndexFunc(*n, func(other note) bool { return other.finding == f })
	if i < 0 {
		i = len(*n)
		*n = append(*n, note{finding: f})
	}
	(*n)[i].places = appendNew((*n)[i].places, place)
}

func (n notes) report(report doctor.Report) {
	for _, each := range n {
		each.finding.Where = some(each.places, ", ")
		report.Add(each.finding)
	}
}

// examination is the check of one chat.
type examination struct {
	*chat
	options Options
	report  doctor.Report
	checkup *checkup
	where   string
	name    string // what tells it from another chat in the same place
	local   bool   // only this machine's own names lead to it, as to a demo's
	found   []candidate
	whole   bool // all candidates were found, and followed to their ends

	arrivals []arrival // of the candidates that reach the chat
	lost     []arrival // of those that do not

	redirects bool // all its visitors are sent to another host, where the same chat is
}

// newExamination returns the examination of a chat, with all its candidates sent.
func (c *checkup) newExamination(found *chat) *examination {
	e := &examination{chat: found, options: c.inspect(found.handler.raw), report: c.report, checkup: c}
	e.found, e.whole = found.candidates()
	e.sendAll()
	e.where = e.server.where(e.found)
	e.local = len(e.found) > 0 && !slices.ContainsFunc(e.found, func(one candidate) bool { return !values.IsLoopback(one.host.written) })
	return e
}

func (e *examination) run() {
	e.report.Progress(e.where)
	e.checkReachable()
	if e.redirects { // the other chat's findings cover the rest
		return
	}
	if err := e.options.Undecodable; err != nil {
		e.addRefused(err)
		return
	}
	e.checkOptions()
	e.checkLimits()
	e.checkServer()
	e.checkWay()
	e.checkLogin()
	e.checkPreflight()
	e.checkResume()
}

// add adds a finding about the chat.
func (e *examination) add(level doctor.Level, check, found, why, do string) {
	e.report.Add(doctor.Finding{Level: level, Check: check, Where: e.where, Found: found, Why: why, Do: do})
}

// atMostNote returns the level of a finding that does not matter on a demo.
func (e *examination) atMostNote(level doctor.Level) doctor.Level {
	if e.local {
		return doctor.Note
	}
	return level
}

func appendNew(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// first returns the way of a request that reaches the chat; nil if none does.
func (e *examination) first() *state {
	if len(e.arrivals) == 0 {
		return nil
	}
	return e.arrivals[0].reached()[0]
}
