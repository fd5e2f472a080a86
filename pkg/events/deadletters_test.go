package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
	pb "github.com/m3o/backend/pkg/events/deadletters"
	"github.com/m3o/backend/pkg/internal/testproto"
)

// listed lists all dead letters, page by page.
func listed(t testing.TB, d *events.DeadLetters, topic string, size int32) []*pb.DeadLetter {
	t.Helper()
	var all []*pb.DeadLetter
	req := &pb.ListRequest{Topic: topic, PageSize: size}
	for {
		rsp := new(pb.ListResponse)
		require.NoError(t, d.List(t.Context(), req, rsp))
		if size > 0 {
			require.LessOrEqual(t, len(rsp.Letters), int(size))
		}
		all = append(all, rsp.Letters...)
		if req.PageToken = rsp.NextPageToken; req.PageToken == "" {
			return all
		}
	}
}

func TestDeadLetters(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		var mended atomic.Bool
		tr := newTrouble(func(int64, int) error {
			if mended.Load() {
				return nil
			}
			return kinds.Invalid("number", "must not be that one")
		})
		b := started(t, db, newChaos(1, 0),
			events.Consumer{Topic: topic, Handle: tr.handler("one")},
			events.Consumer{Topic: topic, Name: "two", Handle: tr.handler("two")},
			events.Consumer{Topic: "others", Handle: tr.handler("others")})
		d := b.DeadLetters()
		require.Empty(t, listed(t, d, "", 0))
		for i := range 10 {
			other := made("b", int64(100+i))
			other.Topic = "others"
			add(t, b, db, made("a", int64(i)), other)
		}
		eventually(t, func() bool { return count(t, db, "letters", "state = 'dead'") == 30 }, "all dead")
		waiting, dead, err := b.Letters(t.Context(), topic)
		require.NoError(t, err)
		require.Zero(t, waiting)
		require.EqualValues(t, 10, dead, "of the consumer without a name")
		for _, size := range []int32{0, 1, 7, 100} {
			all := listed(t, d, "", size)
			require.Len(t, all, 30)
			require.True(t, slices.IsSortedFunc(all, func(a, b *pb.DeadLetter) int { return strings.Compare(a.Id+a.Consumer, b.Id+b.Consumer) }))
		}
		things := listed(t, d, topic, 3)
		require.Len(t, things, 20)
		require.Empty(t, listed(t, d, "nothing", 0))

		first := things[0]
		require.Equal(t, "things", first.Consumer)
		require.Equal(t, "things/two", things[1].Consumer)
		require.Equal(t, "HAPPENED_TYPE_MADE", first.Type)
		require.Equal(t, "a", first.Aggregate)
		require.EqualValues(t, 1, first.Sequence)
		require.EqualValues(t, 1, first.Attempts)
		require.Equal(t, "number: must not be that one", first.Reason)
		require.Positive(t, first.Failed)
		require.Positive(t, first.Time)
		require.True(t, json.Valid([]byte(first.Payload)))

		// One is discarded, for both of its consumers; one is replayed too early and comes back.
		discarded := new(pb.DiscardResponse)
		require.NoError(t, d.Discard(t.Context(), &pb.DiscardRequest{Ids: []string{first.Id, first.Id, uuid.NewString()}}, discarded))
		require.EqualValues(t, 2, discarded.Discarded)
		tried := tr.attempts(1)
		replayed := new(pb.ReplayResponse)
		require.NoError(t, d.Replay(t.Context(), &pb.ReplayRequest{Ids: []string{things[2].Id}}, replayed))
		require.EqualValues(t, 2, replayed.Replayed)
		eventually(t, func() bool { return tr.attempts(1) == tried+2 && count(t, db, "letters", "state = 'dead'") == 28 }, "dead again")

		// The rest is replayed, and handled once.
		mended.Store(true)
		for _, topic := range []string{topic, "others"} {
			require.NoError(t, d.Replay(t.Context(), &pb.ReplayRequest{Topic: topic}, replayed))
		}
		require.EqualValues(t, 10, replayed.Replayed)
		eventually(t, func() bool { return count(t, db, "effects", "1 = 1") == 28 }, "all effects")
		require.Empty(t, listed(t, d, "", 0))
		require.NoError(t, d.Replay(t.Context(), &pb.ReplayRequest{Topic: topic}, replayed))
		require.Zero(t, replayed.Replayed)
		require.Equal(t, 28, count(t, db, "effects", "1 = 1"))
	})
}

// A page is not larger than a message may be.
func TestPagesOfLargeLetters(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	b := started(t, db, newChaos(1, 0), events.Consumer{Topic: topic, Handle: newTrouble(func(int64, int) error {
		return kinds.Invalid("name", "too long")
	}).handler("one")})
	for i := range 12 {
		d := made("", int64(i))
		d.Message.(*testproto.Happened).Name = strings.Repeat("x", 1<<20-2048)
		add(t, b, db, d)
	}
	eventually(t, func() bool { return count(t, db, "letters", "state = 'dead'") == 12 }, "all dead")
	rsp := new(pb.ListResponse)
	require.NoError(t, b.DeadLetters().List(t.Context(), &pb.ListRequest{PageSize: 100}, rsp))
	require.Less(t, len(rsp.Letters), 6)
	require.Len(t, listed(t, b.DeadLetters(), "", 100), 12)
}

func TestDeadLettersRefuseWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	d := bus(t, db, newChaos(1, 0)).DeadLetters()
	long := strings.Repeat("x", 1000)
	list := func(req *pb.ListRequest) func(ctx context.Context) error {
		return func(ctx context.Context) error { return d.List(ctx, req, new(pb.ListResponse)) }
	}
	replay := func(req *pb.ReplayRequest) func(ctx context.Context) error {
		return func(ctx context.Context) error { return d.Replay(ctx, req, new(pb.ReplayResponse)) }
	}
	discard := func(ids ...string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			return d.Discard(ctx, &pb.DiscardRequest{Ids: ids}, new(pb.DiscardResponse))
		}
	}
	for want, calls := range map[string][]func(ctx context.Context) error{
		"topic: must have at most 128 bytes": {list(&pb.ListRequest{Topic: long}), replay(&pb.ReplayRequest{Topic: long})},
		"page_size: must be from 1 to 100":   {list(&pb.ListRequest{PageSize: -1}), list(&pb.ListRequest{PageSize: 101})},
		"page_token: must be": {
			list(&pb.ListRequest{PageToken: "x"}), list(&pb.ListRequest{PageToken: "eA"}), list(&pb.ListRequest{PageToken: long}),
		},
		"ids: give either ids or a topic": {replay(&pb.ReplayRequest{}), replay(&pb.ReplayRequest{Topic: topic, Ids: []string{uuid.NewString()}})},
		"ids: give 1 to 100":              {discard(), discard(make([]string, 101)...), replay(&pb.ReplayRequest{Ids: make([]string, 101)})},
		"ids: each must be the id": {
			discard("x"), discard(uuid.NewString(), ""), discard("{" + uuid.NewString() + "}"), replay(&pb.ReplayRequest{Ids: []string{"' OR 1=1"}}),
		},
	} {
		for i, call := range calls {
			err := call(t.Context())
			require.ErrorContains(t, err, want, fmt.Sprint(i))
			require.Equal(t, kinds.KindInvalid, kinds.KindOf(err))
		}
	}
}

func FuzzPageToken(f *testing.F) {
	db := databasetest.Open(f, "shop", schema)
	d := bus(f, db, newChaos(1, 0)).DeadLetters()
	f.Add("")
	f.Add("MDE5MGFhYWEtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDBhIHRoaW5ncw")
	f.Fuzz(func(t *testing.T, token string) {
		if err := d.List(t.Context(), &pb.ListRequest{PageToken: token}, new(pb.ListResponse)); err != nil {
			require.Equal(t, kinds.KindInvalid, kinds.KindOf(err))
		}
	})
}
