package etcd

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/micro/micro/v3/service/registry"
)

// domainKey is the key of a service's metadata in which Micro expects its domain.
const domainKey = "domain"

// maxDescription bounds what a description may be expanded to, in bytes.
const maxDescription = 16 << 20

// value is what is kept of a node. It is complete, so that a node is there as a whole or not at all, and nothing has to be
// collected when the last node of a version goes.
type value struct {
	Address  string            `json:"address"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// Description is what the nodes of a version have in common, compressed. It is the same bytes for all of them, by which
	// readers keep it once.
	Description []byte `json:"description,omitempty"`
}

// description is what the nodes of a version have in common.
type description struct {
	Metadata  map[string]string    `json:"metadata,omitempty"`
	Endpoints []*registry.Endpoint `json:"endpoints,omitempty"`
}

// describe returns the description of a service, before it is compressed; nil when there is nothing to say.
func describe(s *registry.Service) ([]byte, error) {
	d := description{Metadata: maps.Clone(s.Metadata), Endpoints: s.Endpoints}
	delete(d.Metadata, domainKey) // the key has it
	if len(d.Metadata) == 0 && len(d.Endpoints) == 0 {
		return nil, nil
	}
	return json.Marshal(d) // the keys of maps are sorted
}

// compressors are reused: each has a megabyte of tables.
var compressors = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.DefaultCompression)
	if err != nil {
		panic(err) // there is such a level
	}
	return w
}}

// compress returns the same bytes for the same text.
func compress(text []byte) ([]byte, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	w := compressors.Get().(*flate.Writer)
	defer compressors.Put(w)
	w.Reset(&b)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func expand(compressed []byte) (*description, error) {
	d := new(description)
	if len(compressed) == 0 {
		return d, nil
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(compressed)), maxDescription))
	if err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	return d, json.Unmarshal(text, d)
}

// service makes what Micro knows as a service, without nodes, which shares nothing with the description.
func (d *description) service(id serviceID, version string) *registry.Service {
	s := &registry.Service{Name: id.name, Version: version, Metadata: copyMap(d.Metadata)}
	s.Metadata[domainKey] = id.domain
	s.Endpoints = make([]*registry.Endpoint, len(d.Endpoints))
	for i, e := range d.Endpoints {
		s.Endpoints[i] = &registry.Endpoint{
			Name: e.Name, Request: copyValue(e.Request), Response: copyValue(e.Response), Metadata: copyMap(e.Metadata),
		}
	}
	return s
}

func copyValue(v *registry.Value) *registry.Value {
	if v == nil {
		return nil
	}
	c := &registry.Value{Name: v.Name, Type: v.Type, Values: slices.Clone(v.Values)}
	for i, inner := range c.Values {
		c.Values[i] = copyValue(inner)
	}
	return c
}

// copyMap never returns nil: whoever gets metadata may write to it.
func copyMap(m map[string]string) map[string]string {
	c := make(map[string]string, len(m)+1)
	maps.Copy(c, m)
	return c
}
