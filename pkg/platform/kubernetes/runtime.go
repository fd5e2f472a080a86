package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	microruntime "github.com/micro/micro/v3/service/runtime"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/runtime"
	"github.com/m3o/backend/pkg/platform/state"
)

// Config is what a Runtime needs.
type Config struct {
	// Cluster is where the services run. Its namespace is theirs alone: the runtime can read every Secret in it.
	Cluster Cluster
	// Image is that of the platform's binary, as a container runtime knows it; it fetches the service's and becomes it.
	Image string
	// Binaries keeps the services' binaries.
	Binaries runtime.Keeper
	// Env is the environment of a service, sold or not, as NAME=value.
	Env func(sold bool) []string
	// Credentials makes the credentials of a service, which has no power over the platform when it is sold.
	Credentials func(service, version string, sold bool) runtime.Credentials
	// TLS is the directory where pods find their certificates, which is where the Secret "tls-" and the service's name is mounted;
	// empty without TLS.
	TLS string
	// Verify returns what tokens are checked with; see package token.
	Verify func() ([]byte, error)
}

// Runtime implements Micro's runtime.Runtime with Deployments of Kubernetes.
type Runtime struct {
	config   Config
	client   *client
	changing sync.Mutex // one change at a time: each is a few requests, and waits for no pod
}

var _ microruntime.Runtime = (*Runtime)(nil)

// New returns a runtime. Nothing is asked of the cluster yet.
func New(config Config) (*Runtime, error) {
	if config.Image == "" || config.Binaries == nil || config.Env == nil || config.Credentials == nil || config.Verify == nil {
		return nil, errors.New("kubernetes: an image, binaries, an environment, credentials and keys are needed")
	}
	c, err := newClient(config.Cluster)
	if err != nil {
		return nil, err
	}
	return &Runtime{config: config, client: c}, nil
}

// Init takes no options.
func (r *Runtime) Init(...microruntime.Option) error { return nil }

// String is the runtime's name.
func (r *Runtime) String() string { return "kubernetes" }

// Start does nothing: what was created runs, whether this process does or not.
func (r *Runtime) Start() error { return nil }

// Stop ends what this process has begun. Services go on.
func (r *Runtime) Stop() error {
	r.client.close()
	return nil
}

// record is what is to run under a name.
type record struct {
	Name, Version, Source string
	// Former is the source before this one, whose pods run until those of this one are ready, and may have to be made anew.
	Former string
	Args   []string
	// Env is the caller's, as NAME=value.
	Env       []string
	Metadata  map[string]string
	Sold      bool
	Instances int64
	// Forced is when the last restart was asked for; empty for never.
	Forced string
}

// maxInstances bounds the pods of a service.
const maxInstances = 16

// validEnv is the form of the name of a variable, which becomes that of a key of a Secret.
var validEnv = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}=`)

// newRecord checks what a caller wants to run.
func newRecord(srv *microruntime.Service, options microruntime.CreateOptions) (record, error) {
	if state.IsServer(srv.Name) {
		return record{}, kinds.Invalid("name", "a core service has this one")
	}
	if len(options.Command) > 0 || options.Image != "" {
		return record{}, kinds.Invalid("command", "this runtime runs the binary that was uploaded")
	}
	if options.Instances < 0 || options.Instances > maxInstances {
		return record{}, kinds.Invalid("instances", "expected at most %d", maxInstances)
	}
	rec := record{
		Name: srv.Name, Version: srv.Version, Source: srv.Source, Args: options.Args, Env: slices.Clone(options.Env),
		Metadata: srv.Metadata, Sold: srv.Metadata[runtime.Sold] == "true", Instances: max(1, int64(options.Instances)),
	}
	for name, value := range options.Secrets {
		rec.Env = append(rec.Env, name+"="+value)
	}
	slices.Sort(rec.Env)
	for _, v := range rec.Env {
		if !validEnv.MatchString(v) {
			return record{}, kinds.Invalid("env", "expected NAME=value, the name of letters, digits and underscores")
		}
	}
	if options.Force {
		rec.Forced = time.Now().UTC().Format(time.RFC3339Nano)
	}
	return rec, nil
}

// serviceOf returns the service of a resource.
func serviceOf(resource microruntime.Resource) (*microruntime.Service, error) {
	srv, err := runtime.ServiceOf(resource)
	if err == nil && strings.HasSuffix(srv.Name, "-") {
		err = kinds.Invalid("name", "expected a letter or digit at its end")
	}
	return srv, err
}

// Create runs a service whose binary has been uploaded. For one that exists it puts the new binary, arguments and
// environment in place, which replaces its pods one by one, unless nothing has changed and that is not forced.
func (r *Runtime) Create(resource microruntime.Resource, opts ...microruntime.CreateOption) error {
	srv, err := serviceOf(resource)
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
	r.changing.Lock()
	defer r.changing.Unlock()
	before, err := r.read(rec.Name)
	if err != nil && !errors.Is(err, microruntime.ErrNotFound) {
		return err
	}
	if before != nil && before.Version != rec.Version {
		return kinds.Conflict("version", "%s@%s runs already, and two versions would share its data: kill that one first",
			rec.Name, before.Version)
	}
	if before != nil && before.Sold != rec.Sold {
		return kinds.Conflict("metadata", "%s runs, and is sold or not for as long as it does: kill it first", rec.Name)
	}
	if before != nil {
		rec.follow(*before)
	}
	return r.put(rec)
}

// follow keeps what stays of what ran before under the name.
func (r *record) follow(before record) {
	if r.Former = before.Former; r.Source != before.Source {
		r.Former = before.Source
	}
	if r.Forced == "" {
		r.Forced = before.Forced
	}
}

// Update puts a new binary in the place of a service's that exists, and replaces its pods.
func (r *Runtime) Update(resource microruntime.Resource, opts ...microruntime.UpdateOption) error {
	srv, err := serviceOf(resource)
	if err != nil {
		return err
	}
	var options microruntime.UpdateOptions
	for _, o := range opts {
		o(&options)
	}
	if options.Instances > maxInstances {
		return kinds.Invalid("instances", "expected at most %d", maxInstances)
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	before, err := r.existing(srv)
	if err != nil {
		return err
	}
	rec := *before
	rec.Source, rec.Forced = srv.Source, time.Now().UTC().Format(time.RFC3339Nano)
	rec.follow(*before)
	if srv.Metadata != nil {
		rec.Metadata = srv.Metadata
	}
	if options.Instances > 0 {
		rec.Instances = int64(options.Instances)
	}
	return r.put(rec)
}

// put makes rec what runs under its name, and forgets binaries that nobody runs.
func (r *Runtime) put(rec record) error {
	if err := r.config.Binaries.Check(rec.Source); err != nil {
		return err
	}
	verify, err := r.config.Verify()
	if err != nil {
		return err
	}
	p, err := newPlan(rec, r.config, verify)
	if err != nil {
		return err
	}
	ctx := context.Background() // Micro's interface has none; each request is bounded
	// The Secret first: pods that are made of the Deployment are to find what belongs to it.
	for _, o := range []struct {
		kind kind
		is   object
	}{{secrets, p.secret()}, {services, p.service()}, {deployments, p.deployment()}} {
		if err := r.client.apply(ctx, o.kind, rec.Name, o.is); err != nil {
			return fmt.Errorf("run service %s: %w", rec.Name, err)
		}
	}
	return r.retain()
}

// Delete stops a service and forgets it.
func (r *Runtime) Delete(resource microruntime.Resource, _ ...microruntime.DeleteOption) error {
	srv, err := serviceOf(resource)
	if err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	if _, err := r.existing(srv); err != nil {
		return err
	}
	// The Secret last: it is what says that there is something to delete.
	for _, k := range []kind{deployments, services, secrets} {
		if err := r.client.remove(context.Background(), k, srv.Name); err != nil {
			return fmt.Errorf("delete service %s: %w", srv.Name, err)
		}
	}
	return r.retain()
}

// read returns the record of a service; microruntime.ErrNotFound when this runtime runs none of that name.
func (r *Runtime) read(name string) (*record, error) {
	var found struct {
		Metadata struct{ Labels map[string]string }
		Data     map[string][]byte
	}
	err := r.client.get(context.Background(), secrets, name, &found)
	if isReason(err, "NotFound") {
		return nil, microruntime.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if found.Metadata.Labels[managedKey] != managedBy {
		return nil, kinds.Conflict("name", "something else in the namespace has this name")
	}
	rec := new(record)
	if err := json.Unmarshal(found.Data[recordKey], rec); err != nil {
		return nil, fmt.Errorf("read what runs as %s: %w", name, err)
	}
	return rec, nil
}

// existing returns the record of the service of that name and version.
func (r *Runtime) existing(srv *microruntime.Service) (*record, error) {
	rec, err := r.read(srv.Name)
	if err == nil && rec.Version != srv.Version {
		err = microruntime.ErrNotFound
	}
	return rec, err
}

// retain forgets binaries that no service refers to.
func (r *Runtime) retain() error {
	found, err := r.deployments()
	if err != nil {
		return err
	}
	var sources []string
	for _, d := range found {
		sources = append(sources, d.Metadata.Annotations[sourceNote], d.Metadata.Annotations[formerNote])
	}
	return r.config.Binaries.Retain(sources)
}
