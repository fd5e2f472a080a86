package profile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	memorybroker "github.com/micro/micro/v3/service/broker/memory"
	memoryregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/store/file"

	"github.com/m3o/backend/pkg/platform/files"
	"github.com/m3o/backend/pkg/platform/jetstream"
	"github.com/m3o/backend/pkg/platform/state"
)

// openEmbedded opens what needs no outside server: the registry and the broker live in the memory of their core services, each
// one process, stores are files below the state directory.
func openEmbedded(service string) (engines, error) {
	e := engines{store: file.NewStore(), blobs: files.Blobs{Dir: filepath.Join(state.Dir(), "server", "blobs")}}
	switch service {
	case "registry":
		e.registry = memoryregistry.NewRegistry()
	case "broker":
		e.broker = memorybroker.NewBroker()
	}
	return e, nil
}

// The environment variables that say how events are kept. They are no configuration, as the events service does not wait
// for the config service.
const (
	// SyncEnv is how often what was published is forced to the disk, such as 100ms; "always" for each publication. On the
	// platform profile that is up to Redis.
	SyncEnv = "MICRO_EVENTS_SYNC"
	// RetentionEnv is how long events are kept that all groups have acknowledged, such as 168h.
	RetentionEnv = "MICRO_EVENTS_RETENTION"
	// MaxBytesEnv is how many bytes of the disk a topic may take.
	MaxBytesEnv = "MICRO_EVENTS_MAX_BYTES"
)

// embeddedStream opens the event stream below the state directory.
func embeddedStream() (Stream, error) {
	config, err := streamConfig()
	if err != nil {
		return nil, err
	}
	return jetstream.Open(config)
}

// streamConfig reads how the embedded stream keeps events.
func streamConfig() (jetstream.Config, error) {
	config := jetstream.Config{Dir: filepath.Join(state.Dir(), "events")}
	var err error
	if text := os.Getenv(SyncEnv); text == "always" {
		config.Always = true
	} else if text != "" {
		if config.Sync, err = time.ParseDuration(text); err != nil || config.Sync == 0 {
			return config, fmt.Errorf("%s: expected a duration such as 100ms, or always", SyncEnv)
		}
	}
	config.Retention, config.MaxBytes, err = keeping()
	return config, err
}

// keeping reads for how long and within which bound events are kept; zero is not said.
func keeping() (retention time.Duration, maxBytes int64, err error) {
	if text := os.Getenv(RetentionEnv); text != "" {
		if retention, err = time.ParseDuration(text); err != nil || retention == 0 {
			return 0, 0, fmt.Errorf("%s: expected a duration such as 168h", RetentionEnv)
		}
	}
	if text := os.Getenv(MaxBytesEnv); text != "" {
		if maxBytes, err = strconv.ParseInt(text, 10, 64); err != nil || maxBytes == 0 {
			return 0, 0, fmt.Errorf("%s: expected a number of bytes", MaxBytesEnv)
		}
	}
	return retention, maxBytes, nil
}
