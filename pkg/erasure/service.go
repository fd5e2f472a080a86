package erasure

import (
	"context"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
)

// sweepEvery is how often those are forgotten of whom nothing comes late any more.
const sweepEvery = time.Hour

// Open returns the erasure of a service of the platform, which sweeps by the service's clock.
func Open(db *database.DB, bus *events.Bus, erase Erase) (*Erasure, error) {
	e, err := New(context.Background(), Config{DB: db, Bus: bus, Erase: erase})
	if err != nil {
		return nil, err
	}
	return e, bus.Every("erased", sweepEvery, e.Sweep)
}
