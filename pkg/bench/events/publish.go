package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
)

const (
	rounds = 5
	turn   = time.Second
	most   = 64
	topic  = "bench"
)

// payload is what an event says, with its metadata about 200 bytes.
var payload = []byte(`{"type":"EventTypeUpdated","customer":{"id":"01890a5d-ac96-774b-bcce-b302099a8057","email":"jane@example.com"}}`)

// measurePublish measures Micro's own events.Publish, by one caller and by many in one process, and JetStream's Publish with
// nothing around it.
func measurePublish(ctx context.Context, ps *process.Group, report *bench.Report) error {
	service, err := startEvents(ps)
	if err != nil {
		return err
	}
	ours, err := ps.Start("publisher", service.Address)
	if err != nil {
		return err
	}
	bare, err := ps.Start("jetstream", "")
	if err != nil {
		return err
	}
	one, err := bench.Interleave(ctx, rounds, ours.Side(1, turn), bare.Side(1, turn))
	if err != nil {
		return err
	}
	many, err := bench.Interleave(ctx, rounds, ours.Side(most, turn), bare.Side(most, turn))
	if err != nil {
		return err
	}
	report.AtLeast("publish-1", one[0], "events/s", 4500)
	report.AtLeast("publish-64", many[0], "events/s", 20000)
	report.Figure("jetstream-1", one[1], "events/s")
	report.Figure("jetstream-64", many[1], "events/s")
	report.Figure("publish-against-jetstream-1", one[0]/one[1], "x")
	report.Figure("publish-against-jetstream-64", many[0]/many[1], "x")
	return nil
}

// runPublisher is a service that publishes.
func runPublisher() error {
	if err := user(); err != nil {
		return err
	}
	return process.Obey(func() (process.Caller, error) {
		return func(context.Context) error { return events.Publish(topic, payload) }, nil
	})
}

// runJetStream is JetStream in the process of those who publish.
func runJetStream() (err error) {
	s, err := server.NewServer(&server.Options{
		DontListen: true, NoSigs: true, JetStream: true, SyncInterval: 100 * time.Millisecond,
		StoreDir: filepath.Join(os.Getenv("MICRO_STATE"), "bare"),
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("it does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: topic, Subjects: []string{topic}}); err != nil {
		return err
	}
	return process.Obey(func() (process.Caller, error) {
		return func(ctx context.Context) error {
			_, err := js.Publish(ctx, topic, payload)
			return err
		}, nil
	})
}
