//go:build linux

package main

import (
	"fmt"
	"math"
)

// unit is what a figure counts.
type unit int

const (
	ms unit = iota
	gbPerSecond
	secondsPerGB
	kib
	mib
	kb // 1000 bytes
	mbPerSecond
	allocations
	seconds
)

func (u unit) String() string {
	return [...]string{"ms", "GB/s", "s/GB", "KiB", "MiB", "kB", "MB/s", "allocs", "s"}[u]
}

// figure formats a value with its unit and as many digits as it deserves.
func (u unit) figure(v float64) string {
	digits := 0
	switch a := math.Abs(v); {
	case a < 10:
		digits = 2
	case a < 100:
		digits = 1
	}
	return fmt.Sprintf("%.*f %s", digits, v, u)
}

// goal is what a result is held against. The zero value is none.
type goal struct {
	Kind  goalKind
	Bound float64
}

type goalKind int

const (
	noGoal goalKind = iota
	ratioAtMost
	ratioAtLeast
	atMost // our figure itself
	atLeast
)

// result is one line of the table.
type result struct {
	Row    int
	What   string
	Beside string // what theirs is; empty: there is nothing to compare with
	Unit   unit
	Theirs float64
	Ours   float64
	Runs   int // of each side
	Goal   goal
}

func (r result) ratio() float64 { return r.Ours / r.Theirs }

func (r result) goalText() string {
	switch r.Goal.Kind {
	case ratioAtMost:
		return fmt.Sprintf("<= %.3gx", r.Goal.Bound)
	case ratioAtLeast:
		return fmt.Sprintf(">= %.3gx", r.Goal.Bound)
	case atMost:
		return fmt.Sprintf("<= %.4g %s", r.Goal.Bound, r.Unit)
	case atLeast:
		return fmt.Sprintf(">= %.4g %s", r.Goal.Bound, r.Unit)
	}
	return "-"
}

func (r result) met() bool {
	switch r.Goal.Kind {
	case ratioAtMost:
		return r.ratio() <= r.Goal.Bound
	case ratioAtLeast:
		return r.ratio() >= r.Goal.Bound
	case atMost:
		return r.Ours <= r.Goal.Bound
	case atLeast:
		return r.Ours >= r.Goal.Bound
	}
	return true
}

func (r result) verdict() string {
	switch {
	case r.Goal.Kind == noGoal:
		return "-"
	case r.met():
		return "yes"
	}
	return "no"
}

// name is what a line without figures calls it.
func (r result) name() string {
	name := fmt.Sprintf("row %d, %s", r.Row, r.What)
	if r.Beside != "" {
		name += " beside " + r.Beside
	}
	return name
}

// cells are the columns of the table.
func (r result) cells() []string {
	beside, theirs, ratio := "-", "-", "-"
	if r.Beside != "" {
		beside, theirs, ratio = r.Beside, r.Unit.figure(r.Theirs), fmt.Sprintf("%.3g", r.ratio())
	}
	return []string{
		fmt.Sprint(r.Row), r.What, beside, theirs, r.Unit.figure(r.Ours),
		ratio, r.goalText(), r.verdict(), fmt.Sprint(r.Runs),
	}
}

func columns() []string {
	return []string{"row", "what", "beside", "theirs", "rexec", "ratio", "goal", "met", "runs"}
}
