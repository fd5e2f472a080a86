package acceptance

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	eventspb "github.com/micro/micro/v3/proto/events"
	"github.com/stretchr/testify/require"

	customers "github.com/m3o/backend/customers/proto"
	mixpanelpb "github.com/m3o/backend/mixpanel/proto"
)

// Every event is at the sink, and there once, though the services, the sink and the events service die meanwhile.
// So is one of a type that no build has ever seen, under its own name.
func TestEveryEventIsForwardedOnce(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers", "mixpanel")
	admin := p.admin(t)
	api := customers.NewCustomersService("customers", admin)

	future := uuid.NewString()
	_, err := eventspb.NewStreamService("events", admin).Publish(t.Context(), &eventspb.PublishRequest{
		Topic: "customers", Payload: fmt.Appendf(nil, `{"customer": {"id": %q}, "landed": {"planet": "Mars", "moons": 2}}`, future),
		Metadata: map[string]string{"type": "EventTypeLanded"},
	})
	require.NoError(t, err)

	const people, parallel = 300, 5
	work, created := make(chan int), make(chan string, people)
	var callers sync.WaitGroup
	for range parallel {
		callers.Go(func() {
			for i := range work {
				// Creating is idempotent by the address.
				request := &customers.CreateRequest{Email: fmt.Sprintf("forwarded.%d@example.com", i)}
				rsp, err := api.Create(t.Context(), request)
				for ; err != nil && t.Context().Err() == nil; rsp, err = api.Create(t.Context(), request) {
					<-time.After(rate)
				}
				if err == nil {
					created <- rsp.Customer.Id
				}
			}
		})
	}
	victims := []func() int{
		func() int { return p.binaries()[0].pid }, // customers or mixpanel
		func() int { return p.binaries()[1].pid },
		func() int { return p.standIn(t, mixpanel) },
		func() int { return p.core(t, "events") },
	}
	for i := range people {
		work <- i
		if i%30 == 20 {
			require.Eventually(t, func() bool { return len(p.binaries()) == 2 }, recovery, rate)
			require.NoError(t, syscall.Kill(victims[i/30%len(victims)](), syscall.SIGKILL))
		}
	}
	close(work)
	callers.Wait()
	close(created)

	ids := make(map[string]bool)
	for id := range created {
		ids[id] = true
	}
	require.Len(t, ids, people)
	require.Eventually(t, func() bool {
		found, err := p.Forwarded(t.Context(), "customers_EventTypeCreated", "", 10*people)
		return err == nil && len(found) >= people
	}, recovery, rate, "not every event is forwarded")
	found, err := p.Forwarded(t.Context(), "customers_EventTypeCreated", "", 10*people)
	require.NoError(t, err)
	require.Len(t, found, people, "none is there twice")
	for _, e := range found {
		id, _ := e.Properties["distinct_id"].(string)
		require.True(t, ids[id], "each is about one of them")
		delete(ids, id)
		require.NotContains(t, fmt.Sprint(e.Properties), "example.com")
	}
	found, err = p.Forwarded(t.Context(), "customers_EventTypeLanded", future, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.EqualValues(t, 2, found[0].Properties["landed.moons"])
	require.NotContains(t, found[0].Properties, "landed.planet")

	forwarded := int64(0)
	status := mixpanelpb.NewMixpanelService("mixpanel", admin)
	require.Eventually(t, func() bool {
		rsp, err := status.Status(t.Context(), &mixpanelpb.StatusRequest{})
		if err == nil {
			require.Equal(t, "stand-in", rsp.Destination)
			forwarded = rsp.Topics["customers"].GetForwarded()
		}
		return forwarded >= people+1
	}, recovery, rate)
	require.EqualValues(t, people+1, forwarded, "each was counted once, too")

	page, err := http.Get(p.Sink)
	require.NoError(t, err)
	require.NoError(t, page.Body.Close())
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, p.out.String(), "  Mixpanel  "+p.Sink+" (a stand-in, whose page shows what arrives)")
}
