package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// print writes the row's table, and returns how many goals were missed.
func (r row) print(out io.Writer, samples map[string][]sample) (missed int) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "tool\tmedian s\tleast .. most\tpeak MB\trounds")
	for _, tool := range r.tools {
		times := seconds(samples[tool.name])
		fmt.Fprintf(table, "%s\t%.3f\t%.3f .. %.3f\t%.1f\t%d\n", tool.name,
			quantile(times, 0.5), quantile(times, 0), quantile(times, 1), peak(samples[tool.name]), len(times))
	}
	_ = table.Flush()
	for _, goal := range r.goals {
		against := fastest(goal.others, samples)
		ratios := paired(samples[goal.tool], samples[against])
		middle := quantile(ratios, 0.5)
		missed += verdict(out, middle <= goal.limit, "%s: %.2f x %s (quartiles %.2f .. %.2f), goal %.2f",
			goal.tool, middle, against, quantile(ratios, 0.25), quantile(ratios, 0.75), goal.limit)
		if goal.memory > 0 {
			ratio := peak(samples[goal.tool]) / peak(samples[against])
			missed += verdict(out, ratio <= goal.memory, "%s: peak %.2f x %s, goal %.2f", goal.tool, ratio, against, goal.memory)
		}
	}
	for _, tool := range r.tools {
		if tool.program != "promote" {
			continue
		}
		most := peak(samples[tool.name])
		missed += verdict(out, most <= mostMB, "%s: peak %.1f MB, goal %d", tool.name, most, mostMB)
	}
	return missed
}

func verdict(out io.Writer, met bool, format string, args ...any) int {
	word, missed := "met   ", 0
	if !met {
		word, missed = "MISSED", 1
	}
	fmt.Fprintf(out, word+" "+format+"\n", args...)
	return missed
}

// fastest returns the tool with the least median.
func fastest(tools []string, samples map[string][]sample) string {
	return slices.MinFunc(tools, func(a, b string) int {
		if quantile(seconds(samples[a]), 0.5) < quantile(seconds(samples[b]), 0.5) {
			return -1
		}
		return 1
	})
}

// paired returns the ratios of the runs of the same rounds.
func paired(these, those []sample) []float64 {
	var ratios []float64
	for i := range min(len(these), len(those)) {
		ratios = append(ratios, these[i].Seconds/those[i].Seconds)
	}
	return ratios
}

func peak(samples []sample) (most float64) {
	for _, one := range samples {
		most = max(most, one.PeakMB)
	}
	return most
}

func seconds(samples []sample) []float64 {
	var all []float64
	for _, one := range samples {
		all = append(all, one.Seconds)
	}
	return all
}

// quantile returns the value that this share of the values is below, between two of them by their distance.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := share * float64(len(sorted)-1)
	below := int(at)
	if below == len(sorted)-1 {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}
