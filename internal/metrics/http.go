package metrics

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"golang.org/x/net/netutil"

	"rexec/internal/unixsock"
)

// maxConns bounds the files that those who ask for numbers can make the daemon open.
const maxConns = 32

// Listen listens on host:port, whose host must mean a loopback address, or on unix:PATH, with mode 0660.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		ln, err := unixsock.Listen(ctx, path, 0o660)
		if err != nil {
			return nil, err
		}
		return netutil.LimitListener(ln, maxConns), nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		ln.Close()
		return nil, fmt.Errorf("%s is reached from other machines, and nobody is asked who he is: listen on 127.0.0.1", ln.Addr())
	}
	return netutil.LimitListener(ln, maxConns), nil
}

// Server hands the numbers out by HTTP.
type Server struct {
	http *http.Server
	ln   net.Listener
	done chan struct{} // closed once nothing of it goes on
}

// Serve answers GET /metrics, and GET /healthz with what healthy says: nil, or in a word why not. It closes
// the listener at the end. What goes wrong is told to trouble.
func (m *Metrics) Serve(ln net.Listener, healthy func() error, trouble *log.Logger) *Server {
	s := &Server{ln: ln, done: make(chan struct{}), http: &http.Server{
		Handler:           &handler{m, healthy, ln.Addr().Network() == "unix"},
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: trouble, DisableGeneralOptionsHandler: true,
	}}
	go func() { // Close waits for it
		defer close(s.done)
		if err := s.http.Serve(ln); err != http.ErrServerClosed { //nolint:errorlint // as the standard library says
			trouble.Printf("nobody gets the metrics any more: %v", err)
		}
	}()
	return s
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close ends it: who is being answered gets a second.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}

// handler serves the two paths.
type handler struct {
	metrics *Metrics
	healthy func() error
	unix    bool
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case !h.unix && !localName(r.Host):
		http.Error(w, "ask for 127.0.0.1, [::1] or localhost", http.StatusForbidden)
	case r.URL.Path != "/metrics" && r.URL.Path != "/healthz":
		http.Error(w, "there are /metrics and /healthz", http.StatusNotFound)
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
	case r.URL.Path == "/healthz":
		h.health(w)
	default:
		h.scrape(w)
	}
}

// localName reports whether a request's Host means this machine for everybody. A page in a browser can make its
// own name stand for 127.0.0.1 and then ask in that name; it would be allowed to read the answer.
func localName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}

func (h *handler) health(w http.ResponseWriter) {
	if err := h.healthy(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// scrape writes all numbers, or none of them and why. promhttp would do it as well, with three libraries for
// compression behind it.
func (h *handler) scrape(w http.ResponseWriter) {
	// One at a time: however many ask, they cost one processor at most.
	h.metrics.gathering.Lock()
	families, err := h.metrics.registry.Gather()
	h.metrics.gathering.Unlock()
	if err != nil {
		http.Error(w, "gathering the numbers: "+err.Error(), http.StatusInternalServerError)
		return
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	enc := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if enc.Encode(f) != nil {
			return // who asked has left
		}
	}
}
