//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// report is the outcome of one run of this program.
type report struct {
	machine machine
	quick   bool
	results []result
}

// print writes the table for people. Missing a goal is no error: it is what the table is for.
func (r report) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(columns(), "\t"))
	for _, line := range r.results {
		fmt.Fprintln(w, strings.ReplaceAll(strings.Join(line.cells(), "\t"), "`", ""))
	}
	_ = w.Flush() // an error of to's, which its next user sees
	fmt.Fprintln(to)
	fmt.Fprintln(to, r.summary())
}

func (r report) summary() string {
	var missed []string
	for _, line := range r.results {
		if !line.met() {
			missed = append(missed, line.name())
		}
	}
	s := "missed: " + strings.Join(missed, "; ")
	if len(missed) == 0 {
		s = "missed: nothing"
	}
	if r.quick {
		s += " (-quick: too few runs to hold anybody to)"
	}
	return strings.ReplaceAll(s, "`", "")
}

// markdown is the table for the page.
func (r report) markdown() string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line([]string{"machine", ""})
	line([]string{"---", "---"})
	for _, l := range r.machine.lines {
		line(l[:])
	}
	b.WriteByte('\n')
	line(columns())
	line(strings.Split("--- --- --- ---: ---: ---: --- --- ---:", " "))
	for _, result := range r.results {
		line(result.cells())
	}
	fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(r.summary()[:1])+r.summary()[1:]+".")
	return b.String()
}

// marks are two lines of the page between which results lie.
type marks struct{ begin, end string }

func hereMarks() marks {
	return marks{"<!-- results: written by the program -->", "<!-- end of results -->"}
}

func wanMarks() marks {
	return marks{"<!-- results over a slow link: written by the program -->", "<!-- end of results over a slow link -->"}
}

// splice returns a page with other results.
func (m marks) splice(path, results string) (string, error) {
	page, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the page: %w", err)
	}
	before, rest, ok1 := strings.Cut(string(page), m.begin+"\n")
	_, after, ok2 := strings.Cut(rest, m.end)
	if !ok1 || !ok2 {
		return "", errors.New(path + " has no marks; it needs these two lines: " + m.begin + " and " + m.end)
	}
	return before + m.begin + "\n\n" + results + "\n" + m.end + after, nil
}
