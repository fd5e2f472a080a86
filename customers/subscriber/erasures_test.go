package subscriber_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/subscriber"
	"github.com/m3o/backend/customers/subscriber/fakes"
	"github.com/m3o/backend/pkg/events"
)

func TestErasures(t *testing.T) {
	t.Parallel()
	_, err := subscriber.Erasures(nil)
	require.EqualError(t, err, "customers: the core is missing")
	core := &fakes.FakeCore{}
	c, err := subscriber.Erasures(core)
	require.NoError(t, err)
	require.Equal(t, "erasures", c.Topic)
	var batch []*events.Event
	for _, payload := range []string{
		`{"type": "EventTypeErased", "customer_id": "1", "service": "usage"}`, `{"type": "EventTypeOfTheFuture", "customer_id": "2"}`, `{}`,
	} {
		batch = append(batch, &events.Event{ID: uuid.Must(uuid.NewV7()), Topic: c.Topic, Payload: []byte(payload)})
	}
	require.NoError(t, c.Handle(t.Context(), nil, batch))
	require.Equal(t, 1, core.NoteErasedCallCount())
	_, _, id, by := core.NoteErasedArgsForCall(0)
	require.Equal(t, []string{"1", "usage"}, []string{id, by})
}
