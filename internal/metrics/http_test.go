package metrics

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve serves metrics on a free port until the test ends.
func serve(t *testing.T, healthy func() error) (m *Metrics, address string) {
	t.Helper()
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m = New(Options{Version: "1.2.3", Transports: []string{"tcp"}, Refusals: []string{"proof"},
		Snapshot: func() Snapshot { return Snapshot{Keys: 7} }})
	s := m.Serve(ln, healthy, log.New(io.Discard, "", 0))
	t.Cleanup(s.Close)
	return m, s.Addr().String()
}

// ask sends a request as it is and returns the answer.
func ask(t *testing.T, address, request string) (res *http.Response, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	if res, err = http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method}); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil && res.StatusCode == http.StatusOK { // others may be cut off, with what is not read of the request
		t.Fatal(err)
	}
	return res, string(text)
}

func TestRequests(t *testing.T) {
	_, address := serve(t, func() error { return nil })
	for _, tt := range []struct {
		request, host string
		code          int
		body          string
	}{
		{"GET /metrics", address, 200, "\nrexecd_keys 7\n"},
		{"GET /metrics", "localhost:9100", 200, "\nrexecd_keys 7\n"},
		{"GET /metrics", "LOCALHOST", 200, "\nrexecd_keys 7\n"},
		{"GET /metrics", "[::1]:9100", 200, "\nrexecd_keys 7\n"},
		{"GET /metrics", "[::1]", 200, "\nrexecd_keys 7\n"},
		{"GET /metrics?x=y", "127.1.2.3", 200, `rexecd_build_info{goversion="go`},
		{"GET /healthz", address, 200, "ok\n"},
		{"GET /metrics", "attacker.example", 403, "ask for 127.0.0.1"},
		{"GET /metrics", "attacker.example:9100", 403, "ask for 127.0.0.1"},
		{"GET /healthz", "127.0.0.1.attacker.example", 403, "ask for 127.0.0.1"},
		{"GET /metrics", "localhost.attacker.example", 403, "ask for 127.0.0.1"},
		{"GET /metrics", "192.0.2.1:9100", 403, "ask for 127.0.0.1"},
		{"GET /metrics", "0.0.0.0:9100", 403, "ask for 127.0.0.1"},
		{"GET /metrics", "", 403, "ask for 127.0.0.1"},
		{"GET http://attacker.example/metrics", address, 403, "ask for 127.0.0.1"},
		{"POST /metrics", address, 405, "only GET"},
		{"HEAD /healthz", address, 405, ""},
		{"OPTIONS *", address, 404, "there are"},
		{"GET /", address, 404, "there are"},
		{"GET /metrics/", address, 404, "there are"},
		{"GET /debug/pprof/", address, 404, "there are"},
		{"GET /metrics/../../etc/passwd", address, 404, "there are"},
	} {
		t.Run(tt.request+" "+tt.host, func(t *testing.T) {
			res, body := ask(t, address, tt.request+" HTTP/1.1\r\nHost: "+tt.host+"\r\nConnection: close\r\n\r\n")
			if res.StatusCode != tt.code || !strings.Contains(body, tt.body) {
				t.Errorf("%d, %.300q", res.StatusCode, body)
			}
			if tt.code != 200 && strings.Contains(body, "rexecd_") {
				t.Error("it leaks numbers")
			}
		})
	}
	if res, _ := ask(t, address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n"); res.StatusCode != 431 {
		t.Errorf("a header of 64 KiB: %d", res.StatusCode)
	}
}

func TestHealthz(t *testing.T) {
	var trouble atomic.Pointer[error]
	_, address := serve(t, func() error {
		if err := trouble.Load(); err != nil {
			return *err
		}
		return nil
	})
	const request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	if res, body := ask(t, address, request); res.StatusCode != 200 || body != "ok\n" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	err := errors.New("draining")
	trouble.Store(&err)
	if res, body := ask(t, address, request); res.StatusCode != 503 || body != "draining\n" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// TestConnectionsAreBounded: those who say nothing cannot make the daemon open any number of files, and whoever
// waits is served when one of them leaves.
func TestConnectionsAreBounded(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := make(chan net.Conn, 2*maxConns)
	go func() {
		defer close(taken)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			taken <- conn
		}
	}()
	for range maxConns + 1 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	var first net.Conn
	for range maxConns {
		first = <-taken
		defer first.Close()
	}
	select {
	case <-taken:
		t.Fatalf("more than %d connections were taken", maxConns)
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	last := <-taken
	last.Close()
	ln.Close()
	for range taken { // to its end
	}
}

func TestListenOnlyHere(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		ln, err := Listen(t.Context(), address)
		if err == nil {
			ln.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "is reached from other machines") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestEvents also makes sure that two daemons in one process share nothing.
func TestEvents(t *testing.T) {
	one, address := serve(t, func() error { return nil })
	other, _ := serve(t, func() error { return nil })
	other.JobEnded("exited", "none", time.Hour)
	one.Handshake(Handshake{Transport: "tcp", Outcome: "refused", Reason: "proof"})
	one.Handshake(Handshake{Transport: "tcp", Outcome: "accepted", Took: 600 * time.Microsecond})
	one.JobStarted(3 * time.Millisecond)
	one.JobEnded("killed", "revoked", -time.Second)
	one.NotRun("policy")
	_, body := ask(t, address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	for _, want := range []string{
		`rexecd_handshakes_total{outcome="refused",transport="tcp"} 1`,
		`rexecd_handshakes_total{outcome="accepted",transport="tcp"} 1`,
		`rexecd_handshakes_total{outcome="dropped",transport="tcp"} 0`,
		`rexecd_refusals_total{reason="proof"} 1`,
		`rexecd_handshake_duration_seconds_bucket{transport="tcp",le="0.0005"} 0`,
		`rexecd_handshake_duration_seconds_bucket{transport="tcp",le="0.001"} 1`,
		`rexecd_job_start_duration_seconds_bucket{le="0.0025"} 0`,
		`rexecd_job_start_duration_seconds_bucket{le="0.005"} 1`,
		`rexecd_job_duration_seconds_sum 0`,
		`rexecd_job_duration_seconds_count 1`,
		`rexecd_jobs_ended_total{cause="revoked",state="killed"} 1`,
		`rexecd_jobs_ended_total{cause="none",state="exited"} 0`,
		`rexecd_requests_not_run_total{cause="policy"} 1`,
		`# TYPE rexecd_stream_bytes_total counter`,
		`# TYPE rexecd_keys gauge`,
	} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
}

// TestCloseEndsEverything: also who is in the middle of a request.
func TestCloseEndsEverything(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var words bytes.Buffer
	s := New(Options{Snapshot: func() Snapshot { return Snapshot{} }}).Serve(ln, func() error { return nil }, log.New(&words, "", 0))
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\n")
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if words.Len() > 0 {
		t.Errorf("an end in order is told as trouble: %s", words.String())
	}
}
