//go:build linux

// Command bench measures rexec and OpenSSH side by side on this machine, and the conversion of
// characters beside x/text and iconv(3), and holds the results against the goals of the project.
//
// It owns the daemons that it measures: a rexecd and an sshd of its own on loopback, with keys and
// directories that are thrown away. It is no part of the product, and nothing imports it.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is bench, or what bench starts itself for.
func run(ctx context.Context, args []string) error {
	if len(args) == 1 {
		switch args[0] {
		case holdVerb:
			return hold(ctx, bufio.NewReader(os.Stdin), os.Stdout)
		case firstVerb:
			return firstConversion(os.Stdout)
		case wanVerb:
			return insideWAN(ctx, os.Stdin, os.Stdout)
		}
	}
	return bench(ctx, args)
}

// options are what the command line says.
type options struct {
	only  map[int]bool // rows to measure; empty: all
	quick bool
	write string // page to update; empty: none
	wan   string // the program that makes a slow link; empty: measure here
	pprof string // directory for profiles; empty: measure
}

func parseOptions(args []string) (options, error) {
	o := options{only: map[int]bool{}}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.BoolVar(&o.quick, "quick", false, "fewer and smaller Runs: a rough picture in a minute")
	set.StringVar(&o.write, "write", "", "put the results into this `page`, between its two marks")
	set.StringVar(&o.pprof, "pprof", "", "measure nothing, but write CPU profiles of both ends to this `directory`")
	set.StringVar(&o.wan, "wan", "", "measure over a slow link that this `program` makes; needs root")
	only := set.String("only", "", "measure these `rows` only, as in 1,3")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; -h shows the options", set.Arg(0))
	}
	for _, field := range strings.FieldsFunc(*only, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > len(rows()) {
			return o, fmt.Errorf("-only %s: rows are numbered 1 to %d", field, len(rows()))
		}
		o.only[n] = true
	}
	if o.write != "" && (o.quick || len(o.only) > 0) {
		return o, errors.New("-write takes a whole run: leave out -quick and -only")
	}
	return o, nil
}

func bench(ctx context.Context, args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	marks := hereMarks()
	if o.wan != "" {
		marks = wanMarks()
	}
	if o.write != "" { // before minutes of work
		if _, err := marks.splice(o.write, ""); err != nil {
			return err
		}
	}
	if o.pprof != "" {
		return profile(ctx, o.pprof, o.quick)
	}
	m := describeMachine(ctx)
	fmt.Printf("%s\n", m)
	results, err := measureAll(ctx, o)
	report := report{machine: m, quick: o.quick, results: results}
	if len(results) > 0 {
		report.print(os.Stdout)
	}
	if err != nil || o.write == "" {
		return err
	}
	text, err := marks.splice(o.write, report.markdown())
	if err != nil {
		return err
	}
	return os.WriteFile(o.write, []byte(text), 0o644)
}

// measureAll measures what the options want, on this machine or over a slow link.
func measureAll(ctx context.Context, o options) ([]result, error) {
	if o.wan != "" {
		return overWAN(ctx, o)
	}
	l, err := newLab(ctx, o.quick, o.needs(), here)
	if err != nil {
		return nil, err
	}
	defer l.close()
	return measure(ctx, l, rows(), o.only)
}

// measure runs the rows. One that cannot be measured does not keep the others from it.
func measure(ctx context.Context, l *lab, rows []row, only map[int]bool) ([]result, error) {
	var all []result
	var errs []error
	for i, r := range rows {
		n := i + 1
		if len(only) > 0 && !only[n] {
			continue
		}
		fmt.Fprintf(os.Stderr, "row %d: %s\n", n, r.what)
		results, err := r.measure(ctx, l)
		if ctx.Err() != nil {
			return all, errors.New("interrupted")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("measuring row %d: %w", n, err))
			fmt.Fprintln(os.Stderr, errs[len(errs)-1])
		}
		for _, result := range results {
			result.Row = n
			all = append(all, result)
		}
	}
	return all, errors.Join(errs...)
}

// row is one line of the goals.
type row struct {
	what    string // what goes on, for whoever watches
	needs   need
	measure func(context.Context, *lab) ([]result, error)
}

// need is which daemons a row is measured with.
type need int

const (
	noDaemon need = iota
	rexecdOnly
	rexecdAndSSHD
)

// needs is what the rows to be measured need together.
func (o options) needs() need {
	most := noDaemon
	for i, r := range rows() {
		if len(o.only) == 0 || o.only[i+1] {
			most = max(most, r.needs)
		}
	}
	return most
}

func rows() []row {
	return []row{
		{"a command over a new connection", rexecdAndSSHD, newConnection},
		{"the same against a multiplexed ssh", rexecdAndSSHD, multiplexed},
		{"the next command on an open connection", rexecdAndSSHD, nextCommand},
		{"many commands, 8 at a time", rexecdAndSSHD, manyCommands},
		{"throughput of one stream", rexecdAndSSHD, throughput},
		{"CPU time of one stream", rexecdAndSSHD, cpuTime},
		{"memory of idle connections", rexecdAndSSHD, idleMemory},
		{"start of the client", rexecdAndSSHD, clientStart},
		{"decoding of GBK", noDaemon, decodingGBK},
		{"encoding to GBK", noDaemon, encodingToGBK},
		{"conversion of unknown charsets", noDaemon, unknownCharset},
		{"conversion of a command's output", rexecdOnly, convertedOutput},
		{"many clients at once over UDP", rexecdOnly, manyClients},
		{"a cgroup for each command", rexecdOnly, cgroupCost},
		{"commands over a connection that is kept", rexecdOnly, persistedConnection},
	}
}
