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

func TestSubscribers(t *testing.T) {
	t.Parallel()
	for topic, subscribe := range map[string]func(subscriber.Core) (events.Consumer, error){
		"customers": subscriber.Customers, "requests": subscriber.Requests,
	} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			_, err := subscribe(nil)
			require.EqualError(t, err, "mixpanel: the core is missing")
			core := &fakes.FakeCore{}
			consumer, err := subscribe(core)
			require.NoError(t, err)
			require.Equal(t, topic, consumer.Topic)

			batch := []*events.Event{{ID: uuid.New(), Topic: topic, Type: "EventTypeOfTheFuture", Payload: []byte("no JSON")}}
			require.NoError(t, consumer.Handle(t.Context(), nil, batch))
			require.Equal(t, 1, core.ForwardCallCount())
			_, got := core.ForwardArgsForCall(0)
			require.Equal(t, batch, got)

			failure := stderrors.New("Mixpanel is away")
			core.ForwardReturns(failure)
			require.ErrorIs(t, consumer.Handle(t.Context(), nil, batch), failure)
		})
	}
}
