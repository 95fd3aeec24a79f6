package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Report takes findings as they are found.
type Report interface {
	// Add adds a finding.
	Add(Finding)

	// Progress says what is being checked now. Only a terminal shows it.
	Progress(what string)
}

// Printer prints findings as lines of text or of JSON, and counts them.
type Printer struct {
	out      *output
	asJSON   bool
	terminal bool // out is a terminal: show progress
	where    string
	counts   map[Level]int
}

// NewPrinter returns a printer that writes to out. With asJSON, each finding is a JSON object on a line of its own, and so
// is the summary. terminal says that out is a terminal.
func NewPrinter(out io.Writer, asJSON, terminal bool) *Printer {
	return &Printer{out: &output{to: out}, asJSON: asJSON, terminal: terminal && !asJSON, counts: make(map[Level]int)}
}

// clearLine moves a terminal's cursor to the beginning of the line and clears the line.
const clearLine = "\r\x1b[K"

// Progress shows on a terminal what is being checked now. The next finding replaces it.
func (p *Printer) Progress(what string) {
	if p.terminal {
		fmt.Fprint(p.out, clearLine, "… ", what)
	}
}

// Add prints a finding. Findings about the same place follow one heading.
func (p *Printer) Add(f Finding) {
	p.counts[f.Level]++
	if p.asJSON {
		p.printJSON(f)
		return
	}
	if p.terminal {
		fmt.Fprint(p.out, clearLine)
	}
	if f.Where != p.where {
		if p.where != "" {
			fmt.Fprintln(p.out)
		}
		p.where = f.Where
		fmt.Fprintln(p.out, f.Where)
	}
	fmt.Fprintf(p.out, "  %-8s %s: %s\n", f.Level, f.Check, f.Found)
	p.printDetail("why", f.Why)
	p.printDetail("do", f.Do)
}

// printDetail prints a further line of a finding. A text of several lines, such as a piece of a Caddyfile, stays aligned.
func (p *Printer) printDetail(name, text string) {
	if text == "" {
		return
	}
	const indent = "                "
	fmt.Fprintf(p.out, "           %-4s %s\n", name+":", strings.ReplaceAll(text, "\n", "\n"+indent))
}

// summary is the last line.
type summary struct {
	Wrong    int `json:"wrong"`
	Warnings int `json:"warnings"`
}

// Close prints the summary and reports whether nothing is wrong. Warnings are nothing wrong. It returns an error if anything
// could not be written, because findings are then missing.
func (p *Printer) Close() (healthy bool, err error) {
	s := summary{Wrong: p.counts[Wrong], Warnings: p.counts[Warning]}
	switch {
	case p.asJSON:
		p.printJSON(s)
	case p.terminal:
		fmt.Fprint(p.out, clearLine)
		fallthrough
	default:
		fmt.Fprintf(p.out, "\n%d wrong, %d %s\n", s.Wrong, s.Warnings, plural(s.Warnings, "warning"))
	}
	return s.Wrong == 0, p.out.err
}

func (p *Printer) printJSON(v any) {
	line, err := json.Marshal(v)
	if err != nil { // it has strings and numbers only
		panic(err)
	}
	fmt.Fprintf(p.out, "%s\n", line)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// output writes until an error occurs, and remembers that error.
type output struct {
	to  io.Writer
	err error
}

// Write writes p, unless an earlier write has failed.
func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	o.err = err
	return n, err
}

// Interface guard
var _ Report = (*Printer)(nil)
