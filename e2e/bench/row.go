package main

import (
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/bench/line"
	"dockline/e2e/gitserver"
)

// row is one workload: the images to copy, and what the target holds before, or what is built.
type row struct {
	name, title string
	oneWay      time.Duration // of the line before each registry; 0 is none
	open        bool          // the line's connections have no window
	guarded     bool          // TLS, and tokens
	copied      images
	built       func() (gitserver.Files, error) // of a row that builds, the repository; nil of one that copies
	before      tool                            // of a row that builds, what has built the same before; none without a name
	held        images                          // in the target; nil is nothing
	promoted    bool                            // by promote, before: with its record
	tools       []tool
	goals       []goal
}

// images makes images by NAME:TAG.
type images func() (map[string]v1.Image, error)

// goal is that a tool takes at most limit times as long as the fastest of others, and at most memory times as much memory
// as that one; 0 is as much as it likes.
type goal struct {
	tool   string
	limit  float64
	others []string
	memory float64
}

// mostMB is what promote's peak may be in any row.
const mostMB = 32

const halfway = 25 * time.Millisecond

const app = "deepsky/awl-deepsky-hello:1.0"

var (
	one      = tool{name: "promote", program: "promote"}
	rivals   = []tool{{name: "crane", program: "crane"}, {name: "regctl", program: "regctl"}, {name: "oras", program: "oras"}, {name: "skopeo", program: "skopeo"}}
	everyone = append([]tool{one}, rivals...)
	all      = []string{"crane", "regctl", "oras", "skopeo"}
)

var rows = []row{
	{
		name: "small", title: "60 layers of 60 KB, loopback", copied: image(1, 60, 60e3),
		tools: everyone, goals: []goal{{"promote", 0.85, all, 0}},
	},
	{
		name: "big", title: "8 layers of 40 MB (random), loopback", copied: image(1, 8, 40e6),
		tools: everyone, goals: []goal{{"promote", 1.0, all, 0}},
	},
	{
		name: "small-far", title: "60 layers of 60 KB, 50 ms round trip", oneWay: halfway, copied: image(1, 60, 60e3),
		tools: everyone, goals: []goal{{"promote", 0.2, all, 0}},
	},
	{
		name: "big-far", title: "8 layers of 40 MB (random), 50 ms round trip", oneWay: halfway, copied: image(1, 8, 40e6),
		tools: everyone, goals: []goal{{"promote", 0.6, all, 0}},
	},
	{
		name: "big-open", title: "the same, over a line whose connections have no window", oneWay: halfway, open: true,
		copied: image(1, 8, 40e6), tools: everyone,
	},
	{
		name: "new-layer", title: "one new layer on 60, 50 ms round trip", oneWay: halfway, copied: grown, held: earlier,
		tools: append([]tool{{name: "promote, RECORD=false", program: "promote", env: []string{"RECORD=false"}}}, everyone...),
		goals: []goal{{"promote", 0.45, all, 0}, {"promote, RECORD=false", 0.38, all, 0}},
	},
	{
		name: "same", title: "already there, 50 ms round trip", oneWay: halfway, copied: image(1, 60, 60e3), promoted: true,
		tools: everyone, goals: []goal{{"promote", 1.0, all, 0}},
	},
	{
		name: "services", title: "25 services that share 6 base layers, 50 ms round trip", oneWay: halfway, copied: services(25),
		tools: append([]tool{one}, several()...),
		goals: []goal{{"promote", 0.9, []string{"crane -P25", "regctl -P25", "oras -P25", "skopeo -P25"}, 0}},
	},
	{
		name: "huge", title: "a layer of 2 GiB, loopback", copied: image(1, 1, 2<<30), tools: few(everyone),
	},
	{
		name: "set", title: "200 images that share 6 base layers, loopback", copied: services(200), tools: few([]tool{one}),
	},
	{
		name: "tokens", title: "60 layers of 60 KB, 50 ms round trip, TLS and token authentication", oneWay: halfway, guarded: true,
		copied: image(1, 60, 60e3), tools: []tool{one, rivals[1], rivals[3]}, // crane and oras refuse a token service on loopback
	},
}

func (r row) window() int {
	if r.open {
		return line.Open
	}
	return line.Window
}

// choose returns the rows of these names, all when there is none.
func choose(names []string) ([]row, error) {
	every := slices.Concat(rows, buildRows)
	if len(names) == 0 {
		return every, nil
	}
	var chosen []row
	for _, name := range names {
		found := false
		for _, one := range every {
			if one.name == name {
				chosen, found = append(chosen, one), true
			}
		}
		if !found {
			return nil, fmt.Errorf("BENCH_ROWS: there is no row %q", name)
		}
	}
	return chosen, nil
}

func image(first uint64, layers int, size int64) images {
	return func() (map[string]v1.Image, error) {
		made, err := random(first, layers, size)
		return map[string]v1.Image{app: made}, err
	}
}

// earlier is the image that the target holds, under another version; grown is that one with a layer more.
func earlier() (map[string]v1.Image, error) {
	made, err := random(1, 60, 60e3)
	return map[string]v1.Image{"deepsky/awl-deepsky-hello:0.9": made}, err
}

func grown() (map[string]v1.Image, error) {
	made, err := random(1, 60, 60e3)
	if err != nil {
		return nil, err
	}
	made, err = more(made, 1000, 1, 60e3)
	return map[string]v1.Image{app: made}, err
}

// services are images of 6 layers of 1 MB that all have, and one of 100 KB of their own.
func services(number int) images {
	return func() (map[string]v1.Image, error) {
		base, err := random(1, 6, 1e6)
		if err != nil {
			return nil, err
		}
		made := map[string]v1.Image{}
		for i := range number {
			service, err := more(base, uint64(1000+i), 1, 100e3) //nolint:gosec // never negative
			if err != nil {
				return nil, err
			}
			made[fmt.Sprintf("deepsky/awl-deepsky-service%d:1.0", i+1)] = service
		}
		return made, nil
	}
}

// several is each rival under xargs, and one image after the other; the latter takes so long that it is done less often.
func several() []tool {
	var tools []tool
	for _, rival := range rivals {
		tools = append(tools,
			tool{name: rival.name + " -P25", program: rival.program, each: parallel},
			tool{name: rival.name + " in turn", program: rival.program, each: inTurn, rounds: 1})
	}
	return tools
}

// few has tools run twice only, where it is their memory that is asked for.
func few(tools []tool) []tool {
	var fewer []tool
	for _, tool := range tools {
		tool.rounds = 2
		fewer = append(fewer, tool)
	}
	return fewer
}
