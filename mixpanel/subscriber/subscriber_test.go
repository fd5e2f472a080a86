package subscriber_test

import (
	stderrors "errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/subscriber"
	"github.com/m3o/backend/mixpanel/subscriber/fakes"
	"github.com/m3o/backend/pkg/events"
)

func TestTopic(t *testing.T) {
	t.Parallel()
	_, err := subscriber.Topic("customers", nil)
	require.EqualError(t, err, "mixpanel: the core is missing")
	for _, topic := range []string{"customers", "newer"} {
		core := &fakes.FakeCore{}
		consumer, err := subscriber.Topic(topic, core)
		require.NoError(t, err)
		require.Equal(t, topic, consumer.Topic)

		batch := []*events.Event{{ID: uuid.New(), Topic: topic, Type: "EventTypeOfTheFuture", Payload: []byte("no JSON")}}
		require.NoError(t, consumer.Handle(t.Context(), nil, batch))
		require.Equal(t, 1, core.ForwardCallCount())
		_, _, gotTopic, got := core.ForwardArgsForCall(0)
		require.Equal(t, topic, gotTopic)
		require.Equal(t, batch, got)

		failure := stderrors.New("Mixpanel is away")
		core.ForwardReturns(failure)
		require.ErrorIs(t, consumer.Handle(t.Context(), nil, batch), failure)
	}
}
