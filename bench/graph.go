package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// graph draws costs by target, as an SVG.
type graph struct {
	title, x, y string
	logarithmic bool // the x axis
	points      []float64
	lines       []line
}

type line struct {
	name  string
	costs []float64 // at the points
}

// What a graph looks like, in pixels and colours.
const (
	graphWidth, graphHeight          = 640, 360
	graphLeft, graphRight            = 64, 120
	graphTop, graphBottom            = 60, 56
	graphPaper, graphInk, graphMuted = "#ffffff", "#1e2422", "#5d6662"
	graphGrid                        = "#dcdcd5"
)

var lineColours = []string{"#1f6f63", "#a3341f", "#3b5ba9", "#8a6d1d"}

func (g *graph) svg() string {
	var b strings.Builder
	most := 0.0
	for _, l := range g.lines {
		for _, cost := range l.costs {
			most = max(most, cost)
		}
	}
	step := niceStep(most / 4)
	top := math.Ceil(most/step) * step
	x := func(point float64) float64 {
		first, last := g.points[0], g.points[len(g.points)-1]
		if g.logarithmic {
			point, first, last = math.Log(point), math.Log(first), math.Log(last)
		}
		return graphLeft + (point-first)/(last-first)*(graphWidth-graphLeft-graphRight)
	}
	y := func(cost float64) float64 {
		return graphHeight - graphBottom - cost/top*(graphHeight-graphTop-graphBottom)
	}
	text := func(x, y float64, anchor, colour, format string, args ...any) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, colour, fmt.Sprintf(format, args...))
	}

	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13">`+"\n", graphWidth, graphHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="%s"/>`+"\n", graphPaper)
	text(graphLeft, 24, "start", graphInk, "%s", g.title)
	for cost := 0.0; cost <= top+step/2; cost += step {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="%s"/>`+"\n", graphLeft, y(cost), graphWidth-graphRight, graphGrid)
		text(graphLeft-8, y(cost)+4, "end", graphMuted, "%s", strconv.FormatFloat(cost, 'g', 4, 64))
	}
	for _, point := range g.points {
		text(x(point), graphHeight-graphBottom+20, "middle", graphMuted, "%s", strconv.FormatFloat(point, 'f', -1, 64))
	}
	text(graphLeft+(graphWidth-graphLeft-graphRight)/2, graphHeight-12, "middle", graphMuted, "%s", g.x)
	text(8, graphTop-14, "start", graphMuted, "%s", g.y)
	names := g.namePlaces(y)
	for i, l := range g.lines {
		colour := lineColours[i%len(lineColours)]
		var path strings.Builder
		for j, cost := range l.costs {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], x(g.points[j]), y(cost))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x(g.points[j]), y(cost), colour)
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", path.String(), colour)
		last := len(l.costs) - 1
		text(x(g.points[last])+10, names[i], "start", colour, "%s", l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// namePlaces returns how far down the names of lines are: where the lines end, but none over another one.
func (g *graph) namePlaces(y func(cost float64) float64) []float64 {
	const apart = 16
	places := make([]float64, len(g.lines))
	lines := make([]int, len(g.lines))
	for i, l := range g.lines {
		lines[i] = i
		places[i] = y(l.costs[len(l.costs)-1]) + 4
	}
	slices.SortFunc(lines, func(a, b int) int { return cmp.Compare(places[a], places[b]) })
	for i := 1; i < len(lines); i++ {
		places[lines[i]] = max(places[lines[i]], places[lines[i-1]]+apart)
	}
	return places
}

// niceStep is the next step of 1, 2 or 5 times a power of ten.
func niceStep(atLeast float64) float64 {
	if atLeast <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(atLeast)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= atLeast {
			return factor * power
		}
	}
	return 10 * power
}
