package handler_test

import (
	stderrors "errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/require"

	customersfakes "github.com/m3o/backend/customers/proto/fakes"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
	"github.com/m3o/backend/signup/handler"
	"github.com/m3o/backend/signup/handler/fakes"
	pb "github.com/m3o/backend/signup/proto"
	"github.com/m3o/backend/signup/service"
	corefakes "github.com/m3o/backend/signup/service/fakes"
)

// serve serves the handlers on a core.
func serve(t *testing.T, core handler.Core) *servicetest.Client {
	t.Helper()
	h, err := handler.New(handler.Config{Core: core})
	require.NoError(t, err)
	return servicetest.Serve(t, "signup", func(s server.Server) error { return pb.RegisterSignupHandler(s, h) })
}

// setup serves the handlers on a core that does what the test says.
func setup(t *testing.T) (*fakes.FakeCore, *servicetest.Client) {
	t.Helper()
	core := &fakes.FakeCore{}
	return core, serve(t, core)
}

func TestNewNeedsACore(t *testing.T) {
	t.Parallel()
	_, err := handler.New(handler.Config{})
	require.Error(t, err)
}

func TestTrack(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	_, err := pb.NewSignupService("signup", c).Track(t.Context(), &pb.TrackRequest{
		Id: "visitor", Email: "jane@example.com", FirstVisit: 1_900_000_001, FirstVerification: 1_900_000_002,
		Registration: 1_900_000_003, Referrer: "ad",
	})
	require.NoError(t, err)
	require.Equal(t, 1, core.TrackCallCount())
	_, said := core.TrackArgsForCall(0)
	require.Equal(t, service.Track{
		ID: "visitor", Email: "jane@example.com", FirstVisit: time.Unix(1_900_000_001, 0).UTC(),
		FirstVerification: time.Unix(1_900_000_002, 0).UTC(), Registration: time.Unix(1_900_000_003, 0).UTC(), Referrer: "ad",
	}, said)
}

func TestTrackTakesBothNamesOfAField(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for _, body := range []string{
		`{"id": "visitor", "firstVisit": 1, "firstVerification": 2, "registration": 3}`,
		`{"id": "visitor", "first_visit": "1", "first_verification": "2", "registration": "3"}`,
	} {
		_, err := c.JSON(t.Context(), "Signup.Track", body)
		require.NoError(t, err)
	}
	require.Equal(t, 2, core.TrackCallCount())
	for i := range 2 {
		_, said := core.TrackArgsForCall(i)
		require.Equal(t, service.Track{
			ID: "visitor", FirstVisit: time.Unix(1, 0).UTC(), FirstVerification: time.Unix(2, 0).UTC(),
			Registration: time.Unix(3, 0).UTC(),
		}, said)
	}
}

// 0 says nothing, and nothing else does: one number of seconds is what Go takes for no time at all.
func TestTrackKeepsTimesThatAreNoneApart(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	signup := pb.NewSignupService("signup", c)
	for i, seconds := range []int64{0, (time.Time{}).Unix(), -1, math.MinInt64} {
		_, err := signup.Track(t.Context(), &pb.TrackRequest{Id: "visitor", FirstVisit: seconds})
		require.NoError(t, err)
		_, said := core.TrackArgsForCall(i)
		require.Equal(t, seconds == 0, said.FirstVisit.IsZero(), seconds)
		if seconds != 0 {
			require.True(t, said.FirstVisit.Before(time.Unix(0, 0)), seconds)
		}
	}
}

func TestReadTrack(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	signup := pb.NewSignupService("signup", c)
	core.ReadTrackReturns(service.Track{
		ID: "visitor", Email: "jane@example.com", FirstVisit: time.Unix(11, 999).UTC(), Registration: time.Unix(33, 0).UTC(),
		Referrer: "ad",
	}, nil)
	rsp, err := signup.ReadTrack(t.Context(), &pb.ReadTrackRequest{Id: "visitor"})
	require.NoError(t, err)
	require.Equal(t, 1, core.ReadTrackCallCount())
	_, id := core.ReadTrackArgsForCall(0)
	require.Equal(t, "visitor", id)
	require.Equal(t, "visitor", rsp.Track.Id)
	require.Equal(t, "jane@example.com", rsp.Track.Email)
	require.EqualValues(t, 11, rsp.Track.FirstVisit)
	require.Zero(t, rsp.Track.FirstVerification)
	require.EqualValues(t, 33, rsp.Track.Registration)
	require.Equal(t, "ad", rsp.Track.Referrer)
}

func TestWhatTheCoreRefusesIsPassedOn(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.TrackReturns(errors.Invalid("referrer", "not from there"))
	_, err := c.JSON(t.Context(), "Signup.Track", `{"id": "visitor"}`)
	servicetest.RequireError(t, err, 400, "signup.Signup.Track", "referrer: not from there$")
	core.TrackReturns(stderrors.New("10.0.0.1 is down"))
	_, err = c.JSON(t.Context(), "Signup.Track", `{"id": "visitor"}`)
	servicetest.RequireError(t, err, 500, "signup.Signup.Track", "internal error, reference [0-9a-f]+$")
	require.Equal(t, 2, core.TrackCallCount())

	core.ReadTrackReturns(service.Track{}, errors.NotFound("id", "nobody"))
	_, err = c.JSON(t.Context(), "Signup.ReadTrack", `{"id": "visitor"}`)
	servicetest.RequireError(t, err, 404, "signup.Signup.ReadTrack", "id: nobody$")
	require.Equal(t, 1, core.ReadTrackCallCount())
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	const aNumber = `expected a whole number from -9223372036854775808 to 9223372036854775807`
	for endpoint, bodies := range map[string]map[string]string{
		"Signup.Track": {
			`{"id": 5}`:                               `id: expected a string`,
			`{"id": "v", "email": {}}`:                `email: expected a string`,
			`{"id": "v", "email": "\ud800"}`:          `email: expected valid UTF-8`,
			`{"id": "v", "first_visit": "yesterday"}`: `first_visit: ` + aNumber,
			`{"id": "v", "firstVisit": 1.5}`:          `first_visit: ` + aNumber,
			`{"id": "v", "first_verification": true}`: `first_verification: ` + aNumber,
			`{"id": "v", "registration": 1e30}`:       `registration: ` + aNumber,
			`{"id": "v", "referrer": []}`:             `referrer: expected a string`,
			`{"id": "v", "referer": "ad"}`:            `body: unknown field "referer"`,
			`{"firstVisit": 1, "first_visit": 2}`:     `first_visit: given more than once`,
			`{"id": "v"`:                              `body: not valid JSON`,
			`"v"`:                                     `body: expected an object`,
		},
		"Signup.ReadTrack": {
			`{"id": 5}`:                   `id: expected a string`,
			"{\"id\": \"\xff\"}":          `id: expected valid UTF-8`,
			`{"email": "jane@jane.jane"}`: `body: unknown field "email"`,
			`{"id": "v"}}`:                `body: not valid JSON`,
		},
	} {
		for body, detail := range bodies {
			_, err := c.JSON(t.Context(), endpoint, body)
			servicetest.RequireError(t, err, 400, "signup."+endpoint, detail)
		}
	}
	require.Zero(t, core.TrackCallCount())
	require.Zero(t, core.ReadTrackCallCount())
}

// With the real core: what a caller sees of it.
func TestTracksOfTheRealCore(t *testing.T) {
	t.Parallel()
	c := serve(t, realCore(t, &corefakes.FakeMailer{}, &customersfakes.FakeCustomersService{}))
	signup := pb.NewSignupService("signup", c)

	for _, req := range []*pb.TrackRequest{
		{Id: "visitor", FirstVisit: 20},
		{Id: "visitor", FirstVisit: 10, FirstVerification: 30, Email: "jane@example.com"},
		{Id: "visitor", Registration: 40, Referrer: "ad"},
	} {
		_, err := signup.Track(t.Context(), req)
		require.NoError(t, err)
	}
	rsp, err := signup.ReadTrack(t.Context(), &pb.ReadTrackRequest{Id: "visitor"})
	require.NoError(t, err)
	require.EqualValues(t, 10, rsp.Track.FirstVisit)
	require.EqualValues(t, 30, rsp.Track.FirstVerification)
	require.EqualValues(t, 40, rsp.Track.Registration)
	require.Equal(t, "jane@example.com", rsp.Track.Email)
	require.Equal(t, "ad", rsp.Track.Referrer)

	const secret = "s3cr3t"
	for body, detail := range map[string]string{
		``:                                    "id: required$",
		`{"email": "` + secret + `@x"}`:       "id: required$",
		`{"id": "` + secret + `!"}`:           "id: must have 1 to 64",
		`{"id": "v", "email": "s3cr3t"}`:      "email: must be an address",
		`{"id": "v", "first_visit": -1}`:      "first_visit: must be in seconds",
		`{"id": "v", "firstVerification":-1}`: "first_verification: must be in seconds",
		`{"id": "v", "registration": 9223372036854775807}`:                          "registration: must be in seconds",
		`{"id": "v", "first_visit": -62135596800}`:                                  "first_visit: must be in seconds",
		`{"id": "v", "referrer": "` + strings.Repeat(secret, 1<<18) + `"}`:          "referrer: must have at most 2048 bytes",
		`{"id": "` + strings.Repeat(secret, 1<<18) + `"}`:                           "id: must have 1 to 64",
		`{"id": "v", "email": "` + strings.Repeat(secret, 1<<18) + `@example.com"}`: "email: must have at most 254 bytes",
	} {
		_, err := c.JSON(t.Context(), "Signup.Track", body)
		servicetest.RequireError(t, err, 400, "signup.Signup.Track", detail)
		require.NotContains(t, err.Error(), secret)
	}
	_, err = c.JSON(t.Context(), "Signup.ReadTrack", `{"id": "v"}`)
	servicetest.RequireError(t, err, 404, "signup.Signup.ReadTrack", "id: there is no such track$")
	_, err = c.JSON(t.Context(), "Signup.ReadTrack", ``)
	servicetest.RequireError(t, err, 400, "signup.Signup.ReadTrack", "id: required$")
}
