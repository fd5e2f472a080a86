// Package monitor is the HTTP server that each process has for its operators: metrics, health and profiles.
//
//	GET /metrics          Prometheus metrics
//	GET /healthz          200 while the process is alive, else 503: start it anew
//	GET /readyz           200 when calls may be sent to it, else 503 with the names of the checks that fail
//	GET /debug/pprof/...  profiles of up to a minute, for admins: Authorization: Bearer and a token
//
// It listens on loopback unless it is told otherwise, because but for the profiles it asks nobody who they are. There is
// nothing of a customer in what it answers.
//
// A process that is not ready may work: a check is an opinion that is up to a second old, or two more if it does not
// come to an end. Draining is told at once. A process that is not alive is wedged, or the machine has no time for it.
package monitor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof" // it adds itself to http.DefaultServeMux, which nothing serves
	"os"
	"time"

	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/util/addr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/m3o/backend/pkg/auth"
	kinds "github.com/m3o/backend/pkg/errors"
)

const (
	// AddressEnv is the variable that says where the server listens.
	AddressEnv = "MICRO_METRICS_ADDRESS"
	// loopback is where it listens otherwise: any free port, unreachable from other machines.
	loopback = "127.0.0.1:0"
	// MetadataKey is where a node's metadata in the registry has the address.
	MetadataKey = "metrics"

	readTimeout = 5 * time.Second
	// writeTimeout bounds the profiles, the slowest of the answers.
	writeTimeout = 65 * time.Second
	idleTimeout  = 2 * time.Minute
	stopTimeout  = time.Second
	// maxScrapes is how many scrapes are answered at once.
	maxScrapes = 4
)

// Config is what a Monitor tells of.
type Config struct {
	// Service is the name of the process; errors have it as their id.
	Service string
	// Address is where to listen, as host:port; a port of 0 is any. When empty it is MICRO_METRICS_ADDRESS, or a free
	// port on loopback.
	Address string
	// Metrics are what /metrics has.
	Metrics prometheus.Gatherer
	// Inspect finds the account of a token, for profiles.
	Inspect auth.Inspect
	// Alive and Ready are what /healthz and /readyz tell of.
	Alive, Ready *Checks
	// Log is told what goes wrong; slog's default when nil.
	Log *slog.Logger
}

// Monitor is a running server.
type Monitor struct {
	cfg     Config
	server  *http.Server
	address net.Addr
	ended   chan error
	running context.Context // of the checks: they serve whoever asks next as well, and end with the server
	cancel  context.CancelFunc
}

// Shared is what several processes that are given one address are told instead, as one port is for one of them: the same
// host and any free port; empty if there is no address, or none that could be one.
func Shared(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(host, "0")
}

// Start listens and serves until Stop.
func Start(cfg Config) (*Monitor, error) {
	cfg.Address = cmp.Or(cfg.Address, os.Getenv(AddressEnv), loopback)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
		return nil, fmt.Errorf("%s: expected host:port, such as %s", AddressEnv, loopback)
	}
	listener, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", AddressEnv, err)
	}
	m := &Monitor{cfg: cfg, address: listener.Addr(), ended: make(chan error, 1)}
	m.running, m.cancel = context.WithCancel(context.Background())
	m.server = &http.Server{
		Handler:           m.routes(),
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	go func() { m.ended <- m.server.Serve(listener) }()
	return m, nil
}

// Address is where others reach the server, as host:port.
func (m *Monitor) Address() string {
	host, port, err := net.SplitHostPort(m.address.String())
	if err != nil {
		return m.address.String()
	}
	// An address that stands for all of the machine's is none to connect to.
	if reachable, err := addr.Extract(host); err == nil {
		host = reachable
	}
	return net.JoinHostPort(host, port)
}

// Stop ends the checks, answers what is being answered, for a second at most, and ends.
func (m *Monitor) Stop() error {
	m.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := m.server.Shutdown(ctx)
	if err != nil { // a profile is not worth waiting for
		err = m.server.Close()
	}
	if serve := <-m.ended; !errors.Is(serve, http.ErrServerClosed) {
		err = errors.Join(err, serve)
	}
	return err
}

func (m *Monitor) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.cfg.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	mux.Handle("GET /healthz", m.health(m.cfg.Alive, "alive", "not alive"))
	mux.Handle("GET /readyz", m.health(m.cfg.Ready, "ready", "not ready"))
	mux.Handle("GET /debug/pprof/", m.admins(pprof.Index))
	mux.Handle("GET /debug/pprof/cmdline", m.admins(pprof.Cmdline))
	mux.Handle("GET /debug/pprof/profile", m.admins(pprof.Profile))
	mux.Handle("GET /debug/pprof/symbol", m.admins(pprof.Symbol))
	mux.Handle("GET /debug/pprof/trace", m.admins(pprof.Trace))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		m.fail(w, http.StatusNotFound, "there is nothing here: see /metrics, /healthz, /readyz and /debug/pprof/, with GET")
	})
	return mux
}

// health answers with what is well or not.
func (m *Monitor) health(checks *Checks, well, unwell string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		answer := struct {
			Status  string   `json:"status"`
			Service string   `json:"service"`
			Failing []string `json:"failing,omitempty"`
		}{well, m.cfg.Service, checks.Failing(m.running)}
		code := http.StatusOK
		if len(answer.Failing) > 0 {
			answer.Status, code = unwell, http.StatusServiceUnavailable
		}
		m.write(w, code, answer)
	}
}

// admins lets admins alone through.
func (m *Monitor) admins(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, err := auth.Authenticate(m.cfg.Inspect, r.Header.Values("Authorization"))
		if err == nil {
			err = auth.Policy{Access: auth.ForAdmin}.Authorize(caller)
		}
		if e, ok := errors.AsType[*kinds.Error](err); ok {
			m.fail(w, int(e.Kind), e.Error())
			return
		}
		if err != nil {
			m.cfg.Log.Error("who asks for a profile cannot be told", "cause", err)
			m.fail(w, http.StatusInternalServerError, "internal error")
			return
		}
		next(w, r)
	}
}

// fail answers as Micro's API does.
func (m *Monitor) fail(w http.ResponseWriter, code int, detail string) {
	m.write(w, code, microerrors.Error{
		Id: m.cfg.Service, Code: int32(code), Detail: detail, Status: http.StatusText(code),
	})
}

func (m *Monitor) write(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		m.cfg.Log.Debug("an answer was not taken", "cause", err)
	}
}
