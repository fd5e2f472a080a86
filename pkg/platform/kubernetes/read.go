package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	microruntime "github.com/micro/micro/v3/service/runtime"

	"github.com/m3o/backend/pkg/platform/runtime"
)

// deployment and pod are what is read of Kubernetes' objects.
type deployment struct {
	Metadata struct {
		Name, ResourceVersion string
		Generation            int64
		Labels, Annotations   map[string]string
	}
	Status struct {
		ObservedGeneration             int64
		UpdatedReplicas, ReadyReplicas int
	}
}

type pod struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Status struct {
		Phase             string
		ContainerStatuses []struct {
			RestartCount     int
			State, LastState containerState
		}
	}
}

type containerState struct {
	Waiting    *struct{ Reason, Message string }
	Running    *struct{ StartedAt time.Time }
	Terminated *struct {
		Reason, Message string
		ExitCode        int
	}
}

// Read lists the services that match, ordered by name. Its metadata tells the source directory, the time of the last start,
// the number of restarts, the binary and, for one that ends by itself or cannot be started, why.
func (r *Runtime) Read(opts ...microruntime.ReadOption) ([]*microruntime.Service, error) {
	var options microruntime.ReadOptions
	for _, o := range opts {
		o(&options)
	}
	found, err := r.deployments()
	if err != nil {
		return nil, err
	}
	var running struct{ Items []pod }
	if err := r.client.list(context.Background(), pods, managedKey+"="+managedBy, &running); err != nil {
		return nil, err
	}
	all := []*microruntime.Service{}
	for _, d := range found {
		version := d.Metadata.Annotations[versionNote]
		if options.Service != "" && options.Service != d.Metadata.Name || options.Version != "" && options.Version != version {
			continue
		}
		all = append(all, d.describe(running.Items))
	}
	slices.SortFunc(all, func(a, b *microruntime.Service) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// deployments are those that this runtime has made.
func (r *Runtime) deployments() ([]deployment, error) {
	var found struct{ Items []deployment }
	err := r.client.list(context.Background(), deployments, managedKey+"="+managedBy, &found)
	return found.Items, err
}

// describe is what Read tells of a Deployment.
func (d deployment) describe(all []pod) *microruntime.Service {
	s := &microruntime.Service{
		Name: d.Metadata.Name, Version: d.Metadata.Annotations[versionNote], Source: d.Metadata.Annotations[sourceNote],
		Status: microruntime.Starting, Metadata: make(map[string]string),
	}
	_ = json.Unmarshal([]byte(d.Metadata.Annotations[metadataNote]), &s.Metadata) // somebody may have edited it
	if s.Metadata == nil {
		s.Metadata = make(map[string]string)
	}
	s.Metadata["build"] = runtime.Digest(s.Source)
	if d.Status.ObservedGeneration >= d.Metadata.Generation && d.Status.UpdatedReplicas > 0 && d.Status.ReadyReplicas > 0 {
		s.Status = microruntime.Running
	}
	restarts, started := 0, time.Time{}
	for _, p := range all {
		if p.Metadata.Labels[nameKey] != d.Metadata.Name {
			continue
		}
		for _, c := range p.Status.ContainerStatuses {
			restarts += c.RestartCount
			if c.State.Running != nil && c.State.Running.StartedAt.After(started) {
				started = c.State.Running.StartedAt
			}
			if why := c.State.failure(c.LastState); why != "" {
				s.Status, s.Metadata["error"] = microruntime.Error, why
				restarts = max(restarts, 1) // one that cannot be started at all has failed as well
			}
		}
	}
	s.Metadata["restarts"] = strconv.Itoa(restarts)
	if !started.IsZero() {
		s.Metadata["started"] = started.UTC().Format(time.RFC3339)
	}
	return s
}

// failure says why a container does not run and will not by itself; empty when it does, or is on its way.
func (c containerState) failure(last containerState) string {
	switch {
	case c.Waiting != nil && c.Waiting.Reason == "CrashLoopBackOff" && last.Terminated != nil:
		c.Terminated = last.Terminated
	case c.Waiting != nil && (c.Waiting.Reason == "ContainerCreating" || c.Waiting.Reason == "PodInitializing"):
		return ""
	case c.Waiting != nil:
		return cmp.Or(c.Waiting.Message, c.Waiting.Reason)
	}
	if c.Terminated == nil || c.Terminated.ExitCode == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(c.Terminated.Message), "\n")
	return cmp.Or(lines[len(lines)-1], c.Terminated.Reason)
}
