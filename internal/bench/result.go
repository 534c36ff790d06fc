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
)

func (u unit) String() string {
	return [...]string{"ms", "GB/s", "s/GB", "KiB", "MiB"}[u]
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
	kind  goalKind
	bound float64
}

type goalKind int

const (
	noGoal goalKind = iota
	ratioAtMost
	ratioAtLeast
	atMost // our figure itself
)

// result is one line of the table.
type result struct {
	row    int
	what   string
	beside string // what theirs is
	unit   unit
	theirs float64
	ours   float64
	runs   int // of each side
	goal   goal
}

func (r result) ratio() float64 { return r.ours / r.theirs }

func (r result) goalText() string {
	switch r.goal.kind {
	case ratioAtMost:
		return fmt.Sprintf("<= %.3gx", r.goal.bound)
	case ratioAtLeast:
		return fmt.Sprintf(">= %.3gx", r.goal.bound)
	case atMost:
		return fmt.Sprintf("<= %g %s", r.goal.bound, r.unit)
	}
	return "-"
}

func (r result) met() bool {
	switch r.goal.kind {
	case ratioAtMost:
		return r.ratio() <= r.goal.bound
	case ratioAtLeast:
		return r.ratio() >= r.goal.bound
	case atMost:
		return r.ours <= r.goal.bound
	}
	return true
}

func (r result) verdict() string {
	switch {
	case r.goal.kind == noGoal:
		return "-"
	case r.met():
		return "yes"
	}
	return "no"
}

// cells are the columns of the table.
func (r result) cells() []string {
	return []string{
		fmt.Sprint(r.row), r.what, r.beside, r.unit.figure(r.theirs), r.unit.figure(r.ours),
		fmt.Sprintf("%.3g", r.ratio()), r.goalText(), r.verdict(), fmt.Sprint(r.runs),
	}
}

func columns() []string {
	return []string{"row", "what", "beside", "theirs", "rexec", "ratio", "goal", "met", "runs"}
}
