package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/logger"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// startTimeout is how long the server may take until it has read what is on the disk.
	startTimeout = 5 * time.Minute
	// timeout is how long any request to the server may take.
	timeout = 10 * time.Second
	// sweepEvery is how often is looked for what need not be kept, and checkEvery whether the server is well.
	sweepEvery, checkEvery = time.Minute, time.Second
	// maxMessage is how many bytes a message may have: an event, and what protobuf makes of metadata of many small keys.
	maxMessage = 8 << 20
	// unlimited is what the server is told about the disk: topics have their bounds, and Reserve is looked after here.
	unlimited = 1 << 60
)

// Engine is an event stream that this process keeps, below one directory. Use Open to make one.
type Engine struct {
	config Config
	server *server.Server
	log    *log
	// Acknowledgements do not wait behind publications, nor these behind deliveries.
	publishing, consuming *nats.Conn
	js                    jetstream.JetStream
	epoch                 string
	space                 space

	publisher *stream.Publisher
	consumers *stream.Consumers

	mu     sync.Mutex
	topics map[string]*topic
	making sync.Mutex // held while a topic is made

	ctx     context.Context //nolint:containedctx // ends with the engine
	cancel  context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
	failed  chan struct{}
	fail    sync.Once
	failure error
}

var _ stream.Stream = (*Engine)(nil)

// Open starts an engine. It goes on with what is in the directory, in whatever state a killed process has left it.
func Open(config Config) (*Engine, error) {
	config, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("event stream: %w", err)
	}
	e := &Engine{config: config, log: new(log), topics: make(map[string]*topic), failed: make(chan struct{})}
	e.space = space{dir: config.Dir, reserve: config.Reserve, free: config.free}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.publisher = stream.NewPublisher(func(batch []*events.Event) error {
		_, err := e.publish(context.Background(), batch)
		return err
	})
	e.consumers = &stream.Consumers{Subscribe: e.Subscribe, Done: e.ctx.Done()}
	if err := e.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("event stream in %s: %w", config.Dir, err), e.Close())
	}
	e.running.Go(e.look)
	return e, nil
}

func (e *Engine) start() error {
	var err error
	if e.epoch, err = openEpoch(e.config.Dir, e.config.Always); err != nil {
		return err
	}
	e.server, err = server.NewServer(&server.Options{
		ServerName: "events", DontListen: true, NoSigs: true, NoSystemAccount: true,
		JetStream: true, StoreDir: e.config.Dir, SyncInterval: e.config.Sync, SyncAlways: e.config.Always,
		JetStreamMaxStore: unlimited, JetStreamMaxMemory: 64 << 20, MaxPayload: maxMessage,
	})
	if err != nil {
		return err
	}
	e.server.SetLoggerV2(e.log, false, false, false)
	e.server.Start()
	if !e.server.ReadyForConnections(startTimeout) {
		return errors.New("it takes too long to start")
	}
	// What it cannot read it leaves out, as if nobody had ever published there.
	if ill := e.illness(func(server.HealthzError) bool { return true }); ill != "" {
		return fmt.Errorf("it does not start: %s", ill)
	}
	if e.publishing, err = e.connect(); err != nil {
		return err
	}
	if e.consuming, err = e.connect(); err != nil {
		return err
	}
	if e.js, err = jetstream.New(e.consuming, jetstream.WithDefaultTimeout(timeout)); err != nil {
		return err
	}
	return e.load()
}

func (e *Engine) connect() (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(e.server), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { logger.Errorf("Event stream: %v", err) }))
}

// load finds the topics that there are.
func (e *Engine) load() error {
	ctx, cancel := context.WithTimeout(e.ctx, startTimeout)
	defer cancel()
	var changed []jetstream.StreamConfig
	list := e.js.ListStreams(ctx)
	for info := range list.Info() {
		name, ok := info.Config.Metadata[nameKey]
		if !ok {
			continue // not ours
		}
		t := e.newTopic(name)
		t.note(info.State)
		if want := t.config(); info.Config.MaxBytes != want.MaxBytes {
			changed = append(changed, want)
		}
		e.topics[name] = t
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	for _, config := range changed {
		if _, err := e.js.UpdateStream(ctx, config); err != nil {
			return fmt.Errorf("change the bound of a topic: %w", err)
		}
	}
	for _, t := range e.topics {
		if err := t.removeLoners(ctx); err != nil {
			return fmt.Errorf("topic %s: %w", t.name, err)
		}
	}
	return nil
}

// look looks after the engine until it is closed.
func (e *Engine) look() {
	check, sweep := time.NewTicker(checkEvery), time.NewTicker(sweepEvery)
	defer check.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-check.C:
			e.check()
		case <-sweep.C:
			if err := e.Sweep(e.ctx); err != nil && e.ctx.Err() == nil {
				logger.Errorf("Event stream: remove what need not be kept: %v", err)
			}
		}
	}
}

// check notices that the server cannot write. It does not try again then, and leaves who publishes without an answer.
func (e *Engine) check() {
	if e.ctx.Err() != nil || e.Err() != nil {
		return
	}
	if ill := e.illness(func(h server.HealthzError) bool {
		// A topic that is being made looks as if it could not be read.
		return h.Type != server.HealthzErrorStream || strings.Contains(h.Error, "write error")
	}); ill != "" {
		logger.Errorf("Event stream: %s", ill)
		e.giveUp(errors.New("the event stream cannot write to its disk and has to be started again"))
	}
}

// illness is what the server says of itself and counts; empty when it is well. That it is not ready for connections, it says
// whenever it has not had a millisecond to find out.
func (e *Engine) illness(counts func(server.HealthzError) bool) string {
	for _, h := range e.server.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if h.Type != server.HealthzErrorConn && counts(h) {
			return h.Error
		}
	}
	return ""
}

// giveUp makes the engine one that has failed.
func (e *Engine) giveUp(err error) {
	if e.ctx.Err() != nil {
		return // it is being closed, which is not its fault
	}
	e.fail.Do(func() {
		e.failure = err
		close(e.failed)
	})
}

// Failed is closed when the engine has given up, for good: the process has to be started again. Err says why.
func (e *Engine) Failed() <-chan struct{} { return e.failed }

// Err is why the engine has given up, nil when it has not.
func (e *Engine) Err() error {
	select {
	case <-e.failed:
		return e.failure
	default:
		return nil
	}
}

// Check tells whether the engine takes events: it is for a service's readiness.
func (e *Engine) Check(context.Context) error {
	e.check()
	if err := e.Err(); err != nil {
		return err
	}
	return e.space.check()
}

// Close ends all subscriptions and stops the engine.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.log.quiet.Store(true)
		e.cancel()
		e.consumers.Wait()
		for _, t := range e.all() {
			t.breakAll()
		}
		e.running.Wait()
		for _, c := range []*nats.Conn{e.publishing, e.consuming} {
			if c != nil {
				c.Close()
			}
		}
		if e.server != nil {
			e.server.Shutdown()
			e.server.WaitForShutdown()
		}
	})
	return nil
}

func (e *Engine) all() []*topic {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]*topic, 0, len(e.topics))
	for _, t := range e.topics {
		list = append(list, t)
	}
	return list
}

// Publish implements events.Stream.
func (e *Engine) Publish(name string, message any, opts ...events.PublishOption) error {
	event, err := stream.New(name, message, opts...)
	if err != nil {
		return err
	}
	if err := stream.Prepare(event); err != nil {
		return err
	}
	return e.publisher.Publish(event)
}

// Consume implements events.Stream; see stream.Consumers.Consume.
func (e *Engine) Consume(name string, opts ...events.ConsumeOption) (<-chan events.Event, error) {
	return e.consumers.Consume(name, opts...)
}

// Write implements events.Store; it is not supported.
func (e *Engine) Write(*events.Event, ...events.WriteOption) error {
	return errors.New("an event gets into the store by being published: use Publish")
}
