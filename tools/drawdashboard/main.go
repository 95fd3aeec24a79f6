// Command drawdashboard draws the panels of example/monitoring/dashboard.json as an SVG file, from what a Prometheus has
// collected. The picture in the README is made with it:
//
//	cd tools && go run ./drawdashboard -prometheus http://localhost:9090 -last 15m >../example/monitoring/dashboard.svg
//
// It knows the panels that this dashboard has, and no others.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"io"
	"log"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dashboard is what is drawn of Grafana's JSON model.
type dashboard struct {
	Title  string
	Panels []panel
}

type panel struct {
	Title, Description string
	GridPos            struct{ H, W, X, Y int }
	FieldConfig        struct {
		Defaults struct {
			Unit   string
			Custom struct{ Stacking struct{ Mode string } }
		}
	}
	Targets []struct{ Expr, LegendFormat string }
}

// line is one series of a panel: a value for each step, NaN where there is none.
type line struct {
	name   string
	values []float64
}

const steps = 180

func main() {
	log.SetFlags(0)
	prometheus := flag.String("prometheus", "http://localhost:9090", "the `URL` of the Prometheus to ask")
	last := flag.Duration("last", 15*time.Minute, "how much time to draw, up to now")
	file := flag.String("dashboard", "../example/monitoring/dashboard.json", "the dashboard's `file`")
	flag.Parse()

	text, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		log.Fatalf("%s: %v", *file, err)
	}
	source := source{url: *prometheus, from: time.Now().Add(-*last), step: *last / steps}
	if err := draw(os.Stdout, d, source); err != nil {
		log.Fatal(err)
	}
}

// source is a stretch of time in a Prometheus.
type source struct {
	url  string
	from time.Time
	step time.Duration
}

// lines asks for what a panel shows.
func (s source) lines(p panel) ([]line, error) {
	var lines []line
	for _, target := range p.Targets {
		promQL := strings.NewReplacer("$__rate_interval", "1m", "$assistant", ".*").Replace(target.Expr)
		resp, err := http.Get(s.url + "/api/v1/query_range?" + url.Values{
			"query": {promQL},
			"start": {seconds(s.from)},
			"end":   {seconds(s.from.Add(steps * s.step))},
			"step":  {fmt.Sprint(s.step.Seconds())},
		}.Encode())
		if err != nil {
			return nil, err
		}
		var answer struct {
			Error string
			Data  struct {
				Result []struct {
					Metric map[string]string
					Values [][2]any
				}
			}
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if answer.Error != "" {
			return nil, fmt.Errorf("%s: %s", promQL, answer.Error)
		}
		for _, result := range answer.Data.Result {
			l := line{name: legend(target.LegendFormat, result.Metric), values: slices.Repeat([]float64{math.NaN()}, steps+1)}
			for _, sample := range result.Values {
				at, _ := sample[0].(float64)
				text, _ := sample[1].(string)
				value, err := strconv.ParseFloat(text, 64)
				if err != nil {
					return nil, err
				}
				i := int(math.Round((at - float64(s.from.UnixMilli())/1000) / s.step.Seconds()))
				l.values[min(max(i, 0), steps)] = value
			}
			lines = append(lines, l)
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	return lines, nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// legend fills in a legend's labels.
func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}

// The measures of the picture, in pixels.
const (
	column, row    = 52, 30 // of Grafana's grid
	margin         = 8
	left, top      = 46, 34 // of a panel, to its curves
	right, bottom  = 12, 44
	headline       = 34
	legendWidth    = 5.5 // of a letter
	legendLineHigh = 14
)

var colours = []string{"#3f7fbf", "#d9822b", "#3d9950", "#c23b3b", "#7f5fb5", "#8a6d3b", "#c8649f", "#6b7780"}

func draw(w io.Writer, d dashboard, s source) error {
	width, height := 0, 0
	for _, p := range d.Panels {
		width = max(width, (p.GridPos.X+p.GridPos.W)*column)
		height = max(height, (p.GridPos.Y+p.GridPos.H)*row)
	}
	height += headline
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#333">`+"\n", width, height)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#f4f5f6"/>`+"\n", width, height)
	fmt.Fprintf(w, `<text x="%d" y="23" font-size="16" font-weight="bold">%s</text>`+"\n", 2*margin, html.EscapeString(d.Title))
	for _, p := range d.Panels {
		lines, err := s.lines(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Title, err)
		}
		drawPanel(w, p, lines, s)
	}
	_, err := fmt.Fprintln(w, "</svg>")
	return err
}

func drawPanel(w io.Writer, p panel, lines []line, s source) {
	x, y := p.GridPos.X*column+margin, p.GridPos.Y*row+headline
	wide, high := p.GridPos.W*column-2*margin, p.GridPos.H*row-2*margin
	fmt.Fprintf(w, `<g transform="translate(%d %d)"><rect width="%d" height="%d" rx="3" fill="#fff" stroke="#d5d8db"/>`+"\n", x, y, wide, high)
	fmt.Fprintf(w, `<text x="%d" y="18" font-size="12" font-weight="bold">%s</text>`+"\n", margin, html.EscapeString(p.Title))

	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	bounds, most := stack(lines, stacked)
	scale := newScale(most, p.FieldConfig.Defaults.Unit)
	plotWide, plotHigh := float64(wide-left-right), float64(high-top-bottom)
	px := func(i int) float64 { return left + plotWide*float64(i)/steps }
	py := func(v float64) float64 { return top + plotHigh*(1-v/scale.most) }

	for _, tick := range scale.ticks {
		fmt.Fprintf(w, `<path d="M%d %.1fh%.0f" stroke="#e7e9eb"/><text x="%d" y="%.1f" text-anchor="end" font-size="10" fill="#777">%s</text>`+"\n",
			left, py(tick), plotWide, left-5, py(tick)+3.5, scale.label(tick))
	}
	for i := 0; i <= steps; i += steps / 3 {
		at := (time.Duration(i) * s.step).Round(time.Minute)
		fmt.Fprintf(w, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="10" fill="#777">%s</text>`+"\n", px(i), top+plotHigh+13, strings.TrimSuffix(at.String(), "0s"))
	}
	for n := len(lines) - 1; n >= 0; n-- {
		colour := colours[n%len(colours)]
		for _, run := range runs(bounds[n].upper) {
			var upper, lower []string
			for i := run[0]; i < run[1]; i++ {
				upper = append(upper, fmt.Sprintf("%.1f %.1f", px(i), py(bounds[n].upper[i])))
				lower = append(lower, fmt.Sprintf("%.1f %.1f", px(i), py(bounds[n].lower[i])))
			}
			if stacked {
				slices.Reverse(lower)
				fmt.Fprintf(w, `<path d="M%sL%sZ" fill="%s" fill-opacity=".25"/>`+"\n", strings.Join(upper, "L"), strings.Join(lower, "L"), colour)
			}
			fmt.Fprintf(w, `<path d="M%s" fill="none" stroke="%s" stroke-width="1.3"/>`+"\n", strings.Join(upper, "L"), colour)
		}
	}
	drawLegend(w, lines, wide, high)
	fmt.Fprintln(w, "</g>")
}

// drawLegend has two lines at most.
func drawLegend(w io.Writer, lines []line, wide, high int) {
	x, y := float64(margin), float64(high-2*legendLineHigh+6)
	for n, l := range lines {
		if needs := 22 + legendWidth*float64(len(l.name)); x+needs > float64(wide) {
			x, y = margin, y+legendLineHigh
		}
		fmt.Fprintf(w, `<path d="M%.1f %.1fh10" stroke="%s" stroke-width="3"/><text x="%.1f" y="%.1f" font-size="10">%s</text>`+"\n",
			x, y-3, colours[n%len(colours)], x+14, y, html.EscapeString(l.name))
		x += 22 + legendWidth*float64(len(l.name))
	}
}

// band is where a line is drawn: between what is below it and that with its own values.
type band struct{ lower, upper []float64 }

// stack puts lines on one another, or leaves them where they are. It returns the largest value as well.
func stack(lines []line, stacked bool) (bands []band, most float64) {
	below := make([]float64, steps+1)
	for _, l := range lines {
		b := band{lower: slices.Clone(below), upper: slices.Clone(l.values)}
		for i, value := range l.values {
			if math.IsNaN(value) {
				continue
			}
			if stacked {
				b.upper[i] += below[i]
				below[i] = b.upper[i]
			}
			most = max(most, b.upper[i])
		}
		bands = append(bands, b)
	}
	return bands, most
}

// runs are the stretches of values without a gap.
func runs(values []float64) (runs [][2]int) {
	start := -1
	for i, value := range append(slices.Clone(values), math.NaN()) {
		switch gap := math.IsNaN(value); {
		case !gap && start < 0:
			start = i
		case gap && start >= 0:
			runs = append(runs, [2]int{start, i})
			start = -1
		}
	}
	return runs
}

// scale is a vertical axis.
type scale struct {
	most  float64
	ticks []float64
	unit  string
}

func newScale(most float64, unit string) scale {
	if most <= 0 {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{.2, .25, .5, 1} {
		if most/(step*part) <= 5 {
			step *= part
			break
		}
	}
	s := scale{most: math.Ceil(most/step) * step, unit: unit}
	for tick := 0.0; tick <= s.most+step/2; tick += step {
		s.ticks = append(s.ticks, tick)
	}
	return s
}

func (s scale) label(v float64) string {
	round := func(v float64) string { return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64) }
	switch {
	case s.unit == "s" && s.most < 0.001:
		return round(v*1e6) + " µs"
	case s.unit == "s" && s.most < 1:
		return round(v*1000) + " ms"
	case s.unit == "s":
		return round(v) + " s"
	case s.unit == "Bps" && s.most >= 1000:
		return round(v/1000) + " kB"
	}
	return round(v)
}
