package service

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/server"

	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/telemetry"
	"github.com/m3o/backend/pkg/service/telemetry/monitor"
)

// useLog makes everything in this process log in one format: our code, Micro's and that of libraries. It returns the
// logger of calls, whose lines name the service themselves.
func useLog(name string) (*slog.Logger, error) {
	log, micro, err := telemetry.NewProcessLog(os.Stderr, os.Getenv("MICRO_LOG_FORMAT"), os.Getenv("MICRO_LOG_LEVEL"),
		cmp.Or(os.Getenv("MICRO_SERVICE_NAME"), name))
	if err != nil {
		return nil, err
	}
	slog.SetDefault(micro.Slog())
	logger.DefaultLogger = micro
	return log, nil
}

// observer is what a process tells its operators of itself.
type observer struct {
	tracing      *telemetry.Tracing
	recorder     *telemetry.Recorder
	alive, ready monitor.Checks
	monitor      *monitor.Monitor
}

// observe makes the calls of this process recorded, those it makes with caller included.
func observe(name, version string, log *slog.Logger, caller *direct.Client) (*observer, error) {
	tracing, err := telemetry.StartTracing(context.Background(), name, version, slog.Default())
	if err != nil {
		return nil, err
	}
	o := &observer{tracing: tracing, recorder: telemetry.New(telemetry.Config{Log: log, Tracer: tracing.Tracer()})}
	caller.Report(o.recorder.Connection)
	client.DefaultClient = o.recorder.WrapClient(caller)
	return o, nil
}

// start begins to tell, and has the registry say where. It has to come before the server is started.
func (o *observer) start(name string, s *Server) error {
	o.alive.Add("server", s.Alive)
	o.ready.Add("registration", s.Registered)
	m, err := monitor.Start(monitor.Config{
		Service: name, Metrics: o.recorder.Registry(), Inspect: auth.Inspect, Alive: &o.alive, Ready: &o.ready,
	})
	if err != nil {
		return err
	}
	o.monitor = m
	metadata := maps.Clone(s.Options().Metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata[monitor.MetadataKey] = m.Address()
	return s.Init(server.Metadata(metadata))
}

// stop ends what start and observe have begun.
func (o *observer) stop() error {
	o.tracing.Stop()
	if err := o.monitor.Stop(); err != nil {
		return fmt.Errorf("stop the metrics: %w", err)
	}
	return nil
}
