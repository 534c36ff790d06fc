package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// watched is a program whose metrics a test reads, and a key for it.
type watched struct {
	*program
	key auth.ClientKey
}

const metricsOn = "\n[metrics]\nlisten = '127.0.0.1:0'\n"

func newWatched(t *testing.T, text string) *watched {
	t.Helper()
	w := newUnstarted(t, text)
	w.start()
	return w
}

func newUnstarted(t *testing.T, text string) *watched {
	t.Helper()
	w := &watched{program: newProgram(t, text)}
	_, line, _ := strings.Cut(w.rexecd("key", "add", "test", "--address", "127.0.0.1:1"), "'")
	token, err := auth.ParseToken(strings.TrimSuffix(strings.TrimSpace(line), "'"))
	if err != nil {
		t.Fatal(err)
	}
	w.key = token.Key
	return w
}

// newDraining returns a daemon with a command that has printed an empty line and that no signal ends, but only end.
func newDraining(t *testing.T, text string) (w *watched, end func()) {
	t.Helper()
	w = newUnstarted(t, text)
	w.stopGrace = "10m"
	w.configure(text)
	w.start()
	order := filepath.Join(w.dir, "end")
	p := w.peer()
	p.Send(&proto.Run{ID: client.NewID(), Shell: []byte("trap '' HUP TERM; echo; until [ -e '" + order + "' ]; do sleep 0.1; done"), NoStdin: true})
	for typ := proto.Type(0); typ != proto.TypeStdout; {
		typ, _ = p.Next()
	}
	end = sync.OnceFunc(func() {
		if err := os.WriteFile(order, nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end) // also of a test that has failed, or the daemon waits
	return w, end
}

// address is where clients connect.
func (w *watched) address() string {
	w.t.Helper()
	return w.logged(`"msg":"listening","address":"([0-9.:]+)"`)[1]
}

func (w *watched) metricsAddress() string {
	w.t.Helper()
	return w.logged(`"msg":"listening for who wants metrics","address":"([^"]+)"`)[1]
}

// peer is a client that has proved the key over TCP.
func (w *watched) peer() *rexectest.Peer {
	w.t.Helper()
	p := rexectest.Connect(w.t, w.address())
	if err := p.Prove(w.key); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// get asks as a program of this machine does, over a connection of its own.
func (w *watched) get(path string) (code int, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.metricsAddress()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// scrape returns the values of all series by their full names.
func (w *watched) scrape() map[string]float64 {
	w.t.Helper()
	code, text := w.get("/metrics")
	if code != http.StatusOK {
		w.t.Fatalf("%d: %s", code, text)
	}
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
		all[line[:at]] = v
	}
	return all
}

// want waits until the series have these values: a client hears of its command's end before it is counted.
func (w *watched) want(series map[string]float64) {
	w.t.Helper()
	var wrong []string
	for deadline := time.Now().Add(never); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got := w.scrape()
		wrong = nil
		for name, v := range series {
			if is, ok := got[name]; !ok || is != v {
				wrong = append(wrong, fmt.Sprintf("%s is %v (there: %v), want %v", name, is, ok, v))
			}
		}
		if wrong == nil {
			return
		}
	}
	slices.Sort(wrong)
	w.t.Fatal(strings.Join(wrong, "\n"))
}

// busy does one of everything, and says how it must be counted.
func (w *watched) busy() map[string]float64 {
	t := w.t
	t.Helper()
	code := func(o *rexectest.Outcome, state proto.State, code uint8) {
		t.Helper()
		if o.Exit.State != state || o.Exit.Code != code {
			t.Errorf("%+v, want %v %d", o.Exit, state, code)
		}
	}
	one := w.peer()
	code(one.Run(proto.Run{Shell: []byte("printf 12345; printf 123 >&2; exit 7"), NoStdin: true}), proto.StateExited, 7)
	code(one.Run(proto.Run{Shell: []byte("kill -9 $$"), NoStdin: true}), proto.StateSignaled, 137)
	code(one.Run(proto.Run{Shell: []byte("sleep 100"), NoStdin: true, Timeout: 50}), proto.StateTimeout, 124)
	code(one.Run(proto.Run{Subsystem: "nosuch"}), proto.StateRefused, 255)
	one.Send(&proto.Run{ID: client.NewID(), Argv: [][]byte{[]byte("cat")}})
	if err := one.Out.Data(proto.TypeStdin, 0, []byte("1234567")); err != nil {
		t.Fatal(err)
	}
	one.Send(&proto.EOF{Length: 7})
	code(one.Outcome(), proto.StateExited, 0)
	one.Close()

	udp := rexectest.ConnectUDP(t, w.address())
	if err := udp.Prove(w.key); err != nil {
		t.Fatal(err)
	}
	code(udp.Run(proto.Run{Shell: []byte("true"), NoStdin: true}), proto.StateExited, 0)
	udp.Close()

	gone := w.peer()
	gone.Send(&proto.Run{ID: client.NewID(), Shell: []byte("sleep 100"), NoStdin: true, OnDisconnect: proto.DisconnectKill})
	gone.Next()
	gone.Close()

	for _, wrong := range []auth.ClientKey{
		{Server: w.key.Server, KeyID: "nobody", Secret: w.key.Secret},
		{Server: w.key.Server, KeyID: "tutorial", Secret: w.key.Secret},
	} {
		p := rexectest.Connect(t, w.address())
		if p.Prove(wrong) == nil {
			t.Error("a proof that does not hold was accepted")
		}
		p.Close()
	}
	rexectest.Connect(t, w.address()).Close()
	return map[string]float64{
		`rexecd_handshakes_total{outcome="accepted",transport="tcp"}`: 2,
		`rexecd_handshakes_total{outcome="accepted",transport="udp"}`: 1,
		`rexecd_handshakes_total{outcome="refused",transport="tcp"}`:  2,
		`rexecd_handshakes_total{outcome="closed",transport="tcp"}`:   1,
		`rexecd_handshakes_total{outcome="failed",transport="tcp"}`:   0,
		`rexecd_handshakes_total{outcome="dropped",transport="tcp"}`:  0,
		`rexecd_refusals_total{reason="proof"}`:                       2,
		`rexecd_refusals_total{reason="malformed"}`:                   0,
		`rexecd_connections_accepted_total{transport="tcp"}`:          5,
		`rexecd_connections_accepted_total{transport="udp"}`:          1,
		`rexecd_handshake_duration_seconds_count{transport="tcp"}`:    2,
		`rexecd_handshake_duration_seconds_count{transport="udp"}`:    1,
		`rexecd_jobs_ended_total{cause="none",state="exited"}`:        3,
		`rexecd_jobs_ended_total{cause="none",state="signaled"}`:      1,
		`rexecd_jobs_ended_total{cause="none",state="timeout"}`:       1,
		`rexecd_jobs_ended_total{cause="client_gone",state="killed"}`: 1,
		`rexecd_jobs_ended_total{cause="shutdown",state="killed"}`:    0,
		`rexecd_requests_not_run_total{cause="unsupported"}`:          1,
		`rexecd_requests_not_run_total{cause="policy"}`:               0,
		`rexecd_job_start_duration_seconds_count`:                     6,
		`rexecd_job_duration_seconds_count`:                           6,
		`rexecd_stream_bytes_total{stream="stdin"}`:                   7,
		`rexecd_stream_bytes_total{stream="stdout"}`:                  12,
		`rexecd_stream_bytes_total{stream="stderr"}`:                  3,
		`rexecd_jobs_running`:                                         0,
		`rexecd_connections{state="session",transport="tcp"}`:         0,
		`rexecd_connections{state="session",transport="udp"}`:         0,
		`rexecd_connections{state="unproven",transport="tcp"}`:        0,
		`rexecd_keys`:                          2,
		`rexecd_key_file_valid`:                1,
		`rexecd_sessions_revoked_total`:        0,
		`rexecd_draining`:                      0,
		`rexecd_config_last_reload_successful`: 1,
	}
}

func TestMetricsAreExact(t *testing.T) {
	w := newWatched(t, metricsOn)
	wanted := w.busy()
	w.want(wanted)

	p := w.peer()
	p.Send(&proto.Run{ID: client.NewID(), Shell: []byte("printf 1234; sleep 100"), NoStdin: true})
	wanted[`rexecd_jobs_running`] = 1
	wanted[`rexecd_connections{state="session",transport="tcp"}`] = 1
	wanted[`rexecd_handshakes_total{outcome="accepted",transport="tcp"}`] = 3
	wanted[`rexecd_connections_accepted_total{transport="tcp"}`] = 6
	wanted[`rexecd_handshake_duration_seconds_count{transport="tcp"}`] = 3
	wanted[`rexecd_job_start_duration_seconds_count`] = 7
	wanted[`rexecd_stream_bytes_total{stream="stdout"}`] = 16 // of one that still runs
	w.want(wanted)

	w.rexecd("key", "revoke", "test")
	w.want(map[string]float64{
		`rexecd_keys`:                   1,
		`rexecd_sessions_revoked_total`: 1,
		`rexecd_jobs_ended_total{cause="revoked",state="killed"}`: 1,
		`rexecd_jobs_running`: 0,
		`rexecd_connections{state="session",transport="tcp"}`: 0,
		`rexecd_job_duration_seconds_count`:                   7,
		`rexecd_stream_bytes_total{stream="stdout"}`:          16,
	})
	if after := w.scrape(); after["rexecd_key_reviews_total"] < 1 {
		t.Error("no review was counted")
	}
}

// TestNothingStaysOpen does everything again and again, and looks whether what the daemon opens is closed again.
// It counts only after the first time: a daemon that has just begun to listen still opens what it keeps.
func TestNothingStaysOpen(t *testing.T) {
	w := newWatched(t, metricsOn)
	files, goroutines := math.Inf(1), math.Inf(1)
	w.want(w.busy())
	for range 20 { // one look may meet the end of the one before
		now := w.scrape()
		files, goroutines = min(files, now["process_open_fds"]), min(goroutines, now["go_goroutines"])
	}
	for range 3 {
		w.busy()
	}
	for deadline := time.Now().Add(never); ; time.Sleep(20 * time.Millisecond) {
		now := w.scrape()
		if now["process_open_fds"] <= files && now["go_goroutines"] <= goroutines {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v files and %v goroutines, before %v and %v", now["process_open_fds"], now["go_goroutines"],
				files, goroutines)
		}
	}
}

func TestMetricsOfClassicClients(t *testing.T) {
	w := newWatched(t, "listen_tcp = '127.0.0.1:0'\nlisten_udp = '127.0.0.1:0'\nkey = 'tutorial'\n"+metricsOn)
	tcp, err := net.Dial("tcp", "127.0.0.1:"+w.port("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.Dial("udp", "127.0.0.1:"+w.port("udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for conn, text := range map[net.Conn][]string{tcp: {"printf 123"}, udp: {"", "printf 12345", "\xff"}} {
		for _, command := range text {
			if _, err := conn.Write([]byte(command)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.want(map[string]float64{
		`rexecd_handshakes_total{outcome="accepted",transport="classic_tcp"}`: 1,
		`rexecd_handshakes_total{outcome="accepted",transport="classic_udp"}`: 2,
		`rexecd_handshakes_total{outcome="dropped",transport="classic_udp"}`:  1,
		`rexecd_connections{state="session",transport="classic_tcp"}`:         1,
		`rexecd_requests_not_run_total{cause="invalid"}`:                      1,
		`rexecd_jobs_ended_total{cause="none",state="exited"}`:                2,
		`rexecd_stream_bytes_total{stream="stdout"}`:                          8,
	})
}

// TestHealth: while the daemon drains it says so, to the end.
func TestHealth(t *testing.T) {
	w, end := newDraining(t, metricsOn)
	w.want(map[string]float64{"rexecd_draining": 0})
	for deadline := time.Now().Add(never); ; time.Sleep(5 * time.Millisecond) {
		code, text := w.get("/healthz")
		if code == http.StatusOK && text == "ok\n" {
			break
		}
		if time.Now().After(deadline) { // its loops begin a moment after its first words
			t.Fatalf("%d: %q", code, text)
		}
	}
	address := w.metricsAddress()
	ended := make(chan error, 1)
	go func() { ended <- w.stop() }()
	w.logged(`"msg":"stopping`)
	code, text := w.get("/healthz")
	for deadline := time.Now().Add(never); code == http.StatusOK && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		code, text = w.get("/healthz")
	}
	if code != http.StatusServiceUnavailable || text != "draining\n" {
		t.Errorf("%d: %q", code, text)
	}
	if got := w.scrape()["rexecd_draining"]; got != 1 {
		t.Errorf("rexecd_draining is %v", got)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("somebody still listens for who wants metrics")
	}
}

// TestMetricsSocket: a Unix socket in the place of a port, with its mode, and gone with the daemon.
func TestMetricsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.sock")
	w := newWatched(t, "\n[metrics]\nlisten = 'unix:"+path+"'\n")
	if got := w.metricsAddress(); got != "unix:"+path {
		t.Errorf("the log says %s", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	res, err := (&http.Client{Transport: transport}).Get("http://any.name/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || !strings.Contains(string(text), "\nrexecd_keys 2\n") {
		t.Errorf("%d: %s", res.StatusCode, text)
	}
	second := newProgram(t, "\n[metrics]\nlisten = 'unix:"+path+"'\n")
	err = run(t.Context(), second.args("--listen", "127.0.0.1:0"), streams{nil, &second.log, &second.log})
	if err == nil || !strings.Contains(err.Error(), "listening for metrics.listen: ") || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("a second daemon with the same socket: %v", err)
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
}

// TestWatchersUseRealMetrics: whatever dashboard and alerts ask for is what a daemon has that has done a little.
func TestWatchersUseRealMetrics(t *testing.T) {
	w := newWatched(t, metricsOn)
	w.want(w.busy())
	known := map[string]bool{"up": true} // Prometheus's own, of every target
	for series := range w.scrape() {
		name, _, _ := strings.Cut(series, "{")
		known[name] = true
	}
	used := 0
	for file, exprs := range map[string][]string{
		"grafana/rexecd.json": dashboardQueries(t), "prometheus/rexecd.rules.yml": alertQueries(t),
	} {
		for _, expr := range exprs {
			names := metricNames(expr)
			if len(names) == 0 {
				t.Errorf("%s: no metric in %s", file, expr)
			}
			for _, name := range names {
				used++
				if !known[name] {
					t.Errorf("%s: the daemon has no metric %s", file, name)
				}
			}
		}
	}
	if used < 40 {
		t.Errorf("only %d uses of metrics found", used)
	}
}

// metricNames are the names in a query: what is behind a brace or a call is none.
func metricNames(expr string) []string {
	bare := regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)|, \w+\)$`).ReplaceAllString(expr, " ")
	var names []string
	for _, m := range regexp.MustCompile(`([a-z_][a-z0-9_]*)\s*(\(?)`).FindAllStringSubmatch(bare, -1) {
		if m[2] == "" && m[1] != "and" && m[1] != "or" && m[1] != "unless" {
			names = append(names, m[1])
		}
	}
	return names
}

func dashboardQueries(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../packaging/grafana/rexecd.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		SchemaVersion int
		Panels        []struct {
			Title, Type string
			Datasource  struct{ UID string }
			Targets     []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, p := range board.Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %s: data source %q, %d queries", p.Title, p.Datasource.UID, len(p.Targets))
		}
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	if want := []string{"Traffic", "Outcomes", "Refusals", "Latency", "Resources"}; !slices.Equal(rows, want) || board.SchemaVersion < 39 {
		t.Errorf("schema %d with rows %q", board.SchemaVersion, rows)
	}
	for _, v := range board.Templating.List {
		if v.Definition != "" {
			all = append(all, v.Definition)
		}
	}
	return all
}

const rulesFile = "../../packaging/prometheus/rexecd.rules.yml"

// alertQueries reads the file line by line: there is no library for YAML here. Every alert must have what makes it
// useful at night.
func alertQueries(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	alerts := strings.Split(string(text), "      - alert: ")[1:]
	for _, alert := range alerts {
		name, body, _ := strings.Cut(alert, "\n")
		for _, part := range []string{`        for: \d+m\n`, `          severity: (critical|warning)\n`, `          summary: .*\$labels\.instance`,
			`          description: >-\n            \S`} {
			if !regexp.MustCompile(part).MatchString(body) {
				t.Errorf("alert %s has nothing like %q", name, part)
			}
		}
		_, expr, _ := strings.Cut(body, "        expr: ")
		expr, _, found := strings.Cut(expr, "        for: ")
		if !found {
			t.Errorf("alert %s has no expr before its for", name)
		}
		all = append(all, strings.TrimPrefix(expr, "|\n"))
	}
	if len(alerts) < 8 {
		t.Errorf("%d alerts found", len(alerts))
	}
	return all
}

// TestAlertRulesParse asks Prometheus's own tool.
func TestAlertRulesParse(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian package prometheus)")
	}
	if out, err := exec.CommandContext(t.Context(), tool, "check", "rules", rulesFile).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
