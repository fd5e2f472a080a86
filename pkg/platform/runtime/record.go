package runtime

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	microruntime "github.com/micro/micro/v3/service/runtime"
	"github.com/micro/micro/v3/service/store"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/state"
)

// recordPrefix is what the keys of all records begin with.
const recordPrefix = "service:"

// record is what the runtime remembers of a service.
type record struct {
	Name, Version string
	// Source refers to the binary.
	Source string
	Args   []string
	// Env is added to the environment of every service, as NAME=value.
	Env      []string
	Metadata map[string]string
	// Sold is whether the service is sold, for as long as there is one of that name.
	Sold    bool
	Updated time.Time
}

// Sold is the name of the metadata that says "true" of a service whose calls are sold.
const Sold = "sold"

func (r record) key() string { return recordPrefix + r.Name }

// sameProcess tells whether the processes of both records could not be told apart.
func (r record) sameProcess(other record) bool {
	return r.Source == other.Source && slices.Equal(r.Args, other.Args) && slices.Equal(r.Env, other.Env)
}

func compareRecords(a, b record) int { return cmp.Compare(a.Name, b.Name) }

// newRecord checks what a caller wants to run.
func newRecord(srv *microruntime.Service, options microruntime.CreateOptions) (record, error) {
	if state.IsServer(srv.Name) {
		return record{}, kinds.Invalid("name", "a core service has this one")
	}
	if options.Instances > 1 {
		return record{}, kinds.Invalid("instances", "this runtime runs one instance of a service")
	}
	if len(options.Command) > 0 || options.Image != "" {
		return record{}, kinds.Invalid("command", "this runtime runs the binary that was uploaded")
	}
	rec := record{
		Name: srv.Name, Version: srv.Version, Source: srv.Source, Args: options.Args,
		Env: slices.Clone(options.Env), Metadata: srv.Metadata,
		Sold: srv.Metadata[Sold] == "true", Updated: time.Now().UTC(),
	}
	for name, value := range options.Secrets {
		rec.Env = append(rec.Env, name+"="+value)
	}
	slices.Sort(rec.Env)
	return rec, nil
}

func (r *Runtime) readRecords() ([]record, error) {
	found, err := r.config.Store.Read(recordPrefix, store.ReadPrefix())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the services to run: %w", err)
	}
	records := make([]record, 0, len(found))
	for _, f := range found {
		var rec record
		if err := json.Unmarshal(f.Value, &rec); err != nil {
			return nil, fmt.Errorf("read the services to run: %s: %w", f.Key, err)
		}
		records = append(records, rec)
	}
	slices.SortFunc(records, compareRecords)
	return records, nil
}

func (r *Runtime) writeRecord(rec record) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("remember service %s: %w", rec.Name, err)
	}
	if err := r.config.Store.Write(&store.Record{Key: rec.key(), Value: b}); err != nil {
		return fmt.Errorf("remember service %s: %w", rec.Name, err)
	}
	return nil
}

func (r *Runtime) deleteRecord(rec record) error {
	for _, key := range []string{rec.key(), addressKey(rec.Name)} {
		if err := r.config.Store.Delete(key); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("forget service %s: %w", rec.Name, err)
		}
	}
	return nil
}
