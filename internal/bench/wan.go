//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// wanVerb makes this program the one that measures inside a slow link: in the client's network
// namespace, with daemons in the other one. The order comes over stdin and the results go to stdout, as
// JSON.
const wanVerb = "measure-over-slow-link"

// wanOrder is what to measure over which link.
type wanOrder struct {
	Flags []string // of the program that makes the link
	Quick bool
	Lossy bool
	First int   // number of the first row
	Only  []int // of rows to measure; empty: all
}

// wanAnswer is what was measured.
type wanAnswer struct {
	Results []result
	Err     string // empty: none
}

// oneWay is the links' delay; a round trip takes twice as long.
const oneWay = 50 * time.Millisecond

// overWAN measures over two links, one after the other: a clean one and one that loses packets.
func overWAN(ctx context.Context, o options) ([]result, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a slow link needs root, for network namespaces")
	}
	wanlink, err := exec.LookPath(o.wan)
	if err != nil {
		return nil, fmt.Errorf("-wan: the program that makes a slow link: %w", err)
	}
	delay := []string{"-delay", oneWay.String()}
	clean := wanOrder{Flags: append(delay, "-rate", "200mbit"), Quick: o.quick, First: 1}
	lossy := wanOrder{Flags: append(delay, "-loss", "0.01"), Quick: o.quick, Lossy: true, First: 1 + len(cleanRows())}
	var all []result
	var errs []error
	for _, order := range []wanOrder{clean, lossy} {
		if len(o.only) > 0 && !order.choose(o.only) {
			continue
		}
		results, err := order.run(ctx, wanlink)
		all, errs = append(all, results...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// choose takes those of some rows that are its own, and reports whether there are any.
func (w *wanOrder) choose(only map[int]bool) bool {
	for i := range w.rows() {
		if only[w.First+i] {
			w.Only = append(w.Only, i+1)
		}
	}
	return len(w.Only) > 0
}

// rows are what is measured over this link.
func (w *wanOrder) rows() []row {
	if w.Lossy {
		return lossyRows()
	}
	return cleanRows()
}

// run lets the link program run this one in the client's namespace.
func (w wanOrder) run(ctx context.Context, wanlink string) ([]result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	args := slices.Concat(w.Flags, []string{"-name", fmt.Sprintf("rexec%d", os.Getpid()%1e5), "--",
		"sh", "-c", `exec ip netns exec "$NS_A" "$0" "$@"`, self, wanVerb})
	cmd := exec.CommandContext(ctx, wanlink, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // which this program's other self gets, too
	cmd.Stdin, cmd.Stderr = bytes.NewReader(order), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("over the slow link: %w", err)
	}
	var answer wanAnswer
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("over the slow link: %w", err)
	}
	if answer.Err != "" {
		err = errors.New(answer.Err)
	}
	return answer.Results, err
}

// insideWAN is the other end of wanOrder.run.
func insideWAN(ctx context.Context, in io.Reader, out io.Writer) error {
	var w wanOrder
	if err := json.NewDecoder(in).Decode(&w); err != nil {
		return err
	}
	results, err := w.measure(ctx)
	answer := wanAnswer{Results: results}
	if err != nil {
		answer.Err = err.Error()
	}
	return json.NewEncoder(out).Encode(answer)
}

func (w wanOrder) measure(ctx context.Context) ([]result, error) {
	port := 8000
	l, err := newLab(ctx, w.Quick, rexecdAndSSHD, func() (site, error) {
		port++
		address := net.JoinHostPort(os.Getenv("IP_B"), fmt.Sprint(port))
		return site{address, []string{"ip", "netns", "exec", os.Getenv("NS_B")}}, nil
	})
	if err != nil {
		return nil, err
	}
	defer l.close()
	only := map[int]bool{}
	for _, n := range w.Only {
		only[n] = true
	}
	results, err := measure(ctx, l, w.rows(), only)
	for i := range results {
		results[i].Row += w.First - 1
	}
	return results, err
}

func cleanRows() []row {
	return []row{
		{"a command over a new connection", rexecdAndSSHD, wanCold},
		{"the next command on an open connection", rexecdAndSSHD, wanNext},
		{"paths that fail in the middle of a transfer", rexecdOnly, wanFailures},
	}
}

func lossyRows() []row {
	return []row{{"a transfer with losses", rexecdAndSSHD, wanLossy}}
}

// noise makes a file that no compression makes smaller.
func (l *lab) noise(size int) (path string, content []byte, err error) {
	content = make([]byte, size)
	x := uint64(88172645463325252) // Marsaglia's xorshift64: fast, and nothing compresses it
	for i := range content {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		content[i] = byte(x)
	}
	path = filepath.Join(l.dir, "noise")
	return path, content, os.WriteFile(path, content, 0o600)
}
