package runtime

import (
	"errors"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"
	microruntime "github.com/micro/micro/v3/service/runtime"
	"github.com/micro/micro/v3/service/runtime/local"
	"github.com/micro/micro/v3/service/store"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/platform/supervisor"
)

// defaultVersion is the version of a service that names none, as everywhere in Micro.
const defaultVersion = "latest"

// A name or version becomes part of file names and of the service's address in the registry.
var (
	validName    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	validVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// Credentials are what a service logs in with.
type Credentials struct{ ID, Secret string }

// Config is what a Runtime needs.
type Config struct {
	// Store keeps which services are to run.
	Store store.Store
	// Binaries keeps their executables.
	Binaries Binaries
	// Env is the environment of a service, sold or not; nothing else is inherited.
	Env func(sold bool) []string
	// Credentials makes the credentials of a service, which has no power over the platform when it is sold.
	Credentials func(service, version string, sold bool) Credentials
	// Certify gives a service that is about to start its certificates, and Withdraw takes those of one that is gone; nil where
	// the runtime has no part in that.
	Certify  func(service string, sold bool) error
	Withdraw func(service string) error
	// Supervisor says how the processes are looked after; its Log is ignored.
	Supervisor supervisor.Config
}

// Runtime implements Micro's runtime.Runtime with processes of this machine.
type Runtime struct {
	config Config
	logs   microruntime.Runtime

	// changing is held by Start and Stop, and shared by what changes one service, which holds that one's lock: both take
	// as long as a service needs to stop. mu only guards the maps.
	changing sync.RWMutex
	running  bool

	mu       sync.Mutex
	services map[string]*service
	locks    map[string]*sync.Mutex
}

// service is one service and, while the runtime runs, its process.
type service struct {
	record  record
	process *supervisor.Process
	failure string // why there is no process
}

var _ microruntime.Runtime = (*Runtime)(nil)

// New returns a runtime that does nothing until Start.
func New(config Config) (*Runtime, error) {
	if config.Store == nil || config.Credentials == nil || config.Binaries.Dir == "" {
		return nil, errors.New("runtime: a store, a directory for binaries and a source of credentials are needed")
	}
	// Micro's own runtime reads log files well; that is all it is used for.
	return &Runtime{
		config: config, logs: local.NewRuntime(),
		services: make(map[string]*service), locks: make(map[string]*sync.Mutex),
	}, nil
}

// Init takes no options.
func (r *Runtime) Init(...microruntime.Option) error { return nil }

// String is the runtime's name.
func (r *Runtime) String() string { return "embedded" }

// Start starts every service that has been created and not deleted.
func (r *Runtime) Start() error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if r.running {
		return nil
	}
	records, err := r.readRecords()
	if err != nil {
		return err
	}
	if err := r.config.Binaries.Retain(sourcesOf(records)); err != nil {
		return err
	}
	for _, rec := range records {
		s := &service{record: rec}
		if err := r.start(s); err != nil {
			// One service that cannot run must not take the others down; Read shows why.
			logger.Errorf("Service %s was not started: %v", rec.Name, err)
		}
		r.set(s)
	}
	r.running = true
	return nil
}

// Stop stops every service. They are started again by the next Start.
func (r *Runtime) Stop() error {
	r.changing.Lock()
	defer r.changing.Unlock()
	var wg sync.WaitGroup
	for _, s := range r.all() {
		if s.process != nil {
			wg.Go(s.process.Stop)
		}
	}
	wg.Wait()
	r.running = false
	return nil
}

// Create runs a service whose binary has been uploaded. For one that exists it puts the new binary, arguments and
// environment in place, which restarts it, unless nothing has changed and the restart is not forced.
func (r *Runtime) Create(resource microruntime.Resource, opts ...microruntime.CreateOption) error {
	srv, err := ServiceOf(resource)
	if err != nil {
		return err
	}
	var options microruntime.CreateOptions
	for _, o := range opts {
		o(&options)
	}
	rec, err := newRecord(srv, options)
	if err != nil {
		return err
	}
	defer r.change(srv.Name)()
	return r.put(rec, options.Force)
}

// change makes the caller the only one that changes a service, until it calls what is returned.
func (r *Runtime) change(name string) (done func()) {
	r.changing.RLock()
	r.mu.Lock()
	lock := r.locks[name]
	if lock == nil {
		lock = new(sync.Mutex)
		r.locks[name] = lock
	}
	r.mu.Unlock()
	lock.Lock()
	return func() {
		lock.Unlock()
		r.changing.RUnlock()
	}
}

// Update puts a new binary in the place of a service that exists and restarts it.
func (r *Runtime) Update(resource microruntime.Resource, _ ...microruntime.UpdateOption) error {
	srv, err := ServiceOf(resource)
	if err != nil {
		return err
	}
	defer r.change(srv.Name)()
	s, err := r.existing(srv)
	if err != nil {
		return err
	}
	rec := s.record
	rec.Source, rec.Metadata, rec.Updated = srv.Source, srv.Metadata, time.Now().UTC()
	return r.put(rec, true)
}

// put makes rec what runs under its name and forgets the binary that ran before.
func (r *Runtime) put(rec record, force bool) error {
	if err := r.config.Binaries.Check(rec.Source); err != nil {
		return err
	}
	before := r.get(rec.Name)
	if before != nil && before.record.Version != rec.Version {
		return kinds.Conflict("version", "%s@%s runs already, and two versions would share its data: kill that one first",
			rec.Name, before.record.Version)
	}
	if before != nil && before.record.Sold != rec.Sold {
		return kinds.Conflict("metadata", "%s runs, and is sold or not for as long as it does: kill it first", rec.Name)
	}
	if before != nil && !force && before.record.sameProcess(rec) && before.runs() {
		return nil
	}
	if err := r.writeRecord(rec); err != nil {
		return err
	}
	if before != nil && before.process != nil {
		before.process.Stop()
	}
	s := &service{record: rec}
	err := r.start(s)
	r.set(s)
	return errors.Join(err, r.retain())
}

// Delete stops a service and forgets it.
func (r *Runtime) Delete(resource microruntime.Resource, _ ...microruntime.DeleteOption) error {
	srv, err := ServiceOf(resource)
	if err != nil {
		return err
	}
	defer r.change(srv.Name)()
	s, err := r.existing(srv)
	if err != nil {
		return err
	}
	if err := r.deleteRecord(s.record); err != nil {
		return err
	}
	if s.process != nil {
		s.process.Stop()
	}
	r.mu.Lock()
	delete(r.services, srv.Name)
	r.mu.Unlock()
	if r.config.Withdraw != nil {
		err = r.config.Withdraw(srv.Name)
	}
	return errors.Join(err, r.retain())
}

// Read lists the services that match, ordered by name. Its metadata tells the source directory, the time of the last start,
// the number of restarts, the binary and, for one that ended by itself, why.
func (r *Runtime) Read(opts ...microruntime.ReadOption) ([]*microruntime.Service, error) {
	var options microruntime.ReadOptions
	for _, o := range opts {
		o(&options)
	}
	found := []*microruntime.Service{}
	for _, s := range r.all() {
		if options.Service != "" && options.Service != s.record.Name ||
			options.Version != "" && options.Version != s.record.Version {
			continue
		}
		found = append(found, s.describe())
	}
	return found, nil
}

// Logs reads the log of a service, or of a core service.
func (r *Runtime) Logs(resource microruntime.Resource, opts ...microruntime.LogsOption) (microruntime.LogStream, error) {
	srv, err := ServiceOf(resource)
	if err != nil {
		return nil, err
	}
	return r.logs.Logs(srv, opts...)
}

// start starts the process of s; where that fails, s knows why. Where the process listens is remembered, so that callers
// that still know the one before find this one.
func (r *Runtime) start(s *service) (err error) {
	defer func() {
		if err != nil {
			s.failure = err.Error()
		}
	}()
	place, err := r.readAddress(s.record.Name)
	if err != nil {
		return err
	}
	config := r.config.Supervisor
	config.Log = filepath.Join(state.Logs(), s.record.Name+".log")
	s.process, err = supervisor.Start(config, supervisor.Command{
		Path: r.config.Binaries.Path(s.record.Source),
		Args: s.record.Args,
		Prepare: func(cmd *exec.Cmd) error {
			if r.config.Certify != nil {
				if err := r.config.Certify(s.record.Name, s.record.Sold); err != nil {
					return err
				}
			}
			credentials := r.config.Credentials(s.record.Name, s.record.Version, s.record.Sold)
			var err error
			before := place
			if place, err = choose(before); err != nil {
				return err
			}
			if place != before {
				if err := r.writeAddress(s.record.Name, place); err != nil {
					return err
				}
			}
			// Who the service is comes last, where nothing can replace it.
			cmd.Env = slices.Concat(r.config.Env(s.record.Sold), s.record.Env, []string{
				"MICRO_PROFILE=service",
				"MICRO_SERVICE_NAME=" + s.record.Name,
				"MICRO_SERVICE_VERSION=" + s.record.Version,
				"MICRO_SERVICE_ADDRESS=" + place,
				"MICRO_AUTH_ID=" + credentials.ID,
				"MICRO_AUTH_SECRET=" + credentials.Secret,
			})
			return nil
		},
	})
	return err
}

// runs tells whether there is a process now.
func (s *service) runs() bool {
	return s.process != nil && s.process.Status().State == supervisor.Running
}

// describe is what Read tells of s.
func (s *service) describe() *microruntime.Service {
	metadata := maps.Clone(s.record.Metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata["build"] = Digest(s.record.Source)
	described := &microruntime.Service{
		Name: s.record.Name, Version: s.record.Version, Source: s.record.Source, Metadata: metadata,
	}
	if s.process == nil {
		described.Status, metadata["error"] = microruntime.Error, s.failure
		return described
	}
	status := s.process.Status()
	metadata["started"] = status.Started.UTC().Format(time.RFC3339)
	metadata["restarts"] = strconv.Itoa(status.Restarts)
	switch status.State {
	case supervisor.Running:
		described.Status = microruntime.Running
	case supervisor.Stopped:
		described.Status = microruntime.Stopped
	case supervisor.Waiting:
		described.Status, metadata["error"] = microruntime.Error, status.Reason
	}
	return described
}

func (r *Runtime) retain() error {
	var records []record
	for _, s := range r.all() {
		records = append(records, s.record)
	}
	return r.config.Binaries.Retain(sourcesOf(records))
}

func sourcesOf(records []record) []string {
	var sources []string
	for _, rec := range records {
		sources = append(sources, rec.Source)
	}
	return sources
}

func (r *Runtime) all() []*service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.services), func(a, b *service) int {
		return compareRecords(a.record, b.record)
	})
}

func (r *Runtime) get(name string) *service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.services[name]
}

// existing returns the service of that name and version.
func (r *Runtime) existing(srv *microruntime.Service) (*service, error) {
	s := r.get(srv.Name)
	if s == nil || s.record.Version != srv.Version {
		return nil, microruntime.ErrNotFound
	}
	return s, nil
}

func (r *Runtime) set(s *service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services[s.record.Name] = s
}

// ServiceOf returns the service of a resource, with a version and a name that a service can have; namespaces, network
// policies and quotas are the operator's.
func ServiceOf(resource microruntime.Resource) (*microruntime.Service, error) {
	srv, ok := resource.(*microruntime.Service)
	if !ok {
		return nil, microruntime.ErrInvalidResource
	}
	if srv.Version == "" {
		srv.Version = defaultVersion
	}
	if !validName.MatchString(srv.Name) {
		return nil, kinds.Invalid("name", "expected a lower case letter followed by at most 62 letters, digits or hyphens")
	}
	if !validVersion.MatchString(srv.Version) {
		return nil, kinds.Invalid("version", "expected at most 63 letters, digits, dots, hyphens or underscores")
	}
	return srv, nil
}
