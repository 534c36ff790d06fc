//go:build linux

// Command bench measures rexec and OpenSSH side by side on this machine and holds the results
// against the goals of the project.
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
	var err error
	if len(os.Args) > 1 && os.Args[1] == holdVerb {
		err = hold(ctx, bufio.NewReader(os.Stdin), os.Stdout)
	} else {
		err = bench(ctx, os.Args[1:])
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	only  map[int]bool // rows to measure; empty: all
	quick bool
	write string // page to update; empty: none
	pprof string // directory for profiles; empty: measure
}

func parseOptions(args []string) (options, error) {
	o := options{only: map[int]bool{}}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.BoolVar(&o.quick, "quick", false, "fewer and smaller runs: a rough picture in a minute")
	set.StringVar(&o.write, "write", "", "put the results into this `page`, between its two marks")
	set.StringVar(&o.pprof, "pprof", "", "measure nothing, but write CPU profiles of both ends to this `directory`")
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
	if o.write != "" { // before minutes of work
		if _, err := splice(o.write, ""); err != nil {
			return err
		}
	}
	if o.pprof != "" {
		return profile(ctx, o.pprof, o.quick)
	}
	l, err := newLab(ctx, o.quick)
	if err != nil {
		return err
	}
	defer l.close()
	m := describeMachine(ctx)
	fmt.Printf("%s\n", m)
	results, err := measure(ctx, l, o.only)
	report := report{machine: m, quick: o.quick, results: results}
	if len(results) > 0 {
		report.print(os.Stdout)
	}
	if err != nil || o.write == "" {
		return err
	}
	text, err := splice(o.write, report.markdown())
	if err != nil {
		return err
	}
	return os.WriteFile(o.write, []byte(text), 0o644)
}

// measure runs the rows. One that cannot be measured does not keep the others from it.
func measure(ctx context.Context, l *lab, only map[int]bool) ([]result, error) {
	var all []result
	var errs []error
	for i, r := range rows() {
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
			result.row = n
			all = append(all, result)
		}
	}
	return all, errors.Join(errs...)
}

// row is one line of the goals.
type row struct {
	what    string // what goes on, for whoever watches
	measure func(context.Context, *lab) ([]result, error)
}

func rows() []row {
	return []row{
		{"a command over a new connection", newConnection},
		{"the same against a multiplexed ssh", multiplexed},
		{"the next command on an open connection", nextCommand},
		{"many commands, 8 at a time", manyCommands},
		{"throughput of one stream", throughput},
		{"CPU time of one stream", cpuTime},
		{"memory of idle connections", idleMemory},
		{"start of the client", clientStart},
	}
}
