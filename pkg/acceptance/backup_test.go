package acceptance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/events/deadletters"
	usage "github.com/m3o/backend/usage/proto"
)

// savers is how many customers there are when the platform is backed up.
const savers = 8

// together has everybody call for a while.
func together(ctx context.Context, t *testing.T, everybody []*person, d time.Duration) {
	t.Helper()
	calling, stop := context.WithTimeout(ctx, d)
	defer stop()
	var calls sync.WaitGroup
	for _, person := range everybody {
		calls.Go(func() { person.use(calling, ctx) })
	}
	calls.Wait()
}

// A platform is backed up while everybody calls, destroyed, and made again elsewhere: what was answered before is there, what
// is delivered again counts once, and everybody goes on.
func TestRestoredFromABackup(t *testing.T) {
	t.Parallel()
	p := bootStory(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()

	everybody := make([]*person, savers)
	for i := range everybody {
		everybody[i] = &person{
			platform: p.Client, email: fmt.Sprintf("saver.%d@example.com", i), password: "secret of " + strconv.Itoa(i), subscribes: i%2 == 0,
		}
		require.NoError(t, everybody[i].signUp(ctx))
		if everybody[i].subscribes {
			require.NoError(t, everybody[i].subscribe(ctx))
		}
	}
	together(ctx, t, everybody, 2*time.Second)

	// What is called from now on may be in the backup or not.
	meanwhile := make([]*person, savers)
	for i, known := range everybody {
		one := *known
		one.answered, one.uncertain, one.refused = 0, 0, 0
		meanwhile[i] = &one
	}
	var calls sync.WaitGroup
	calls.Go(func() { together(ctx, t, meanwhile, 6*time.Second) })
	require.True(t, pause(ctx, time.Second))
	archive := filepath.Join(t.TempDir(), "platform.tar")
	out, err := p.Run(ctx, "backup", archive)
	require.NoError(t, err, out)
	t.Log(out)
	info, err := os.Stat(archive)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	calls.Wait()
	for i, one := range meanwhile {
		require.NotZero(t, one.answered, "the platform goes on")
		require.Zero(t, one.uncertain+one.refused, "nobody has noticed")
		everybody[i].uncertain += one.answered
	}
	p.killTree()
	require.Eventually(t, func() bool { return len(p.binaries()) == 0 }, recovery, rate)

	restored := newPlatform(t)
	restored.port = p.port // what everybody knows
	out, err = restored.Run(ctx, "restore", "--state", restored.State, archive)
	require.NoError(t, err, out)
	t.Log(out)
	out, err = restored.Run(ctx, "restore", "--state", restored.State, archive)
	require.Error(t, err)
	require.Contains(t, out, "is not empty")
	require.True(t, restored.start(t))
	for _, person := range everybody {
		person.platform = restored.Client
		answers(t, person.own, "/customers/Read", "{}", recovery)
		answers(t, person.sold, "/v1/weather/Now", `{"place": "Paris"}`, recovery)
		person.answered++
	}
	counted := restored.counts(t, everybody)
	before := make([]int, savers)
	for i, person := range everybody {
		before[i] = person.answered
	}
	together(ctx, t, everybody, 2*time.Second)
	newcomer := &person{platform: restored.Client, email: "newcomer@example.com", password: "secret of a newcomer", subscribes: true}
	require.NoError(t, newcomer.signUp(ctx))
	require.NoError(t, newcomer.subscribe(ctx))
	together(ctx, t, []*person{newcomer}, time.Second)
	checkStory(t, restored, append(everybody, newcomer))
	for i, n := range restored.counts(t, everybody) {
		require.Equal(t, counted[i]+everybody[i].answered-before[i], n, "what came after the restore counts once")
	}
	for _, name := range services {
		letters, err := deadletters.NewDeadLettersService(name, restored.admin(t)).List(ctx, &deadletters.ListRequest{})
		require.NoError(t, err, name)
		require.Empty(t, letters.Letters, name)
	}
}

// counts waits until nothing is counted any more, and returns what was counted of everybody.
func (p *platform) counts(t *testing.T, everybody []*person) []int {
	t.Helper()
	api := usage.NewUsageService("usage", p.admin(t))
	var last []int
	same := 0
	require.Eventually(t, func() bool {
		now := make([]int, len(everybody))
		for i, person := range everybody {
			rsp, err := api.ReadMonthlyTotal(t.Context(), &usage.ReadMonthlyTotalRequest{CustomerId: person.id})
			if err != nil {
				return false
			}
			now[i] = int(rsp.Requests)
		}
		if fmt.Sprint(now) != fmt.Sprint(last) {
			last, same = now, 0
			return false
		}
		same++
		return same > 20
	}, 2*recovery, 5*rate*2, "it is counted for ever")
	return last
}
