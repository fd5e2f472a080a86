package identity

import (
	"context"
	stderrors "errors"
	"os"
	"sync"
	"testing"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/store"
	"github.com/micro/micro/v3/service/store/memory"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/sessions"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/errors"
)

// keys is a directory of keys that all tests share: making them takes longer than most tests.
var keys string

func TestMain(m *testing.M) {
	var err error
	if keys, err = os.MkdirTemp("", "identity"); err == nil {
		err = token.Create(keys)
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	if err := os.RemoveAll(keys); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// fixture is an Identity on a store and a clock that the test holds.
type fixture struct {
	*Identity
	store    *faultyStore
	auth     authHandler
	accounts accountsHandler
	sessions sessionsHandler

	mu  sync.Mutex
	now time.Time
}

func setup(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{now: time.Now(), store: &faultyStore{Store: memory.NewStore(), left: -1}}
	s, err := token.OpenSigner(keys)
	require.NoError(t, err)
	v, err := token.OpenVerifier(keys)
	require.NoError(t, err)
	root, err := token.LoadRoot(keys)
	require.NoError(t, err)
	f.Identity, err = newIdentity(Config{Store: f.store, Signer: s, Verifier: v, Root: root, Clock: f.clock}, bcrypt.MinCost)
	require.NoError(t, err)
	f.auth, f.accounts, f.sessions = authHandler{f.Identity}, accountsHandler{f.Identity}, sessionsHandler{f.Identity}
	return f
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) turn(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

var errFault = stderrors.New("the store is away")

// faultyStore is a store that does so many changes more and then fails; any number while left is negative.
type faultyStore struct {
	store.Store
	mu     sync.Mutex
	left   int
	onRead func(key string) // called before each read, if there is one
}

func (s *faultyStore) Read(key string, opts ...store.ReadOption) ([]*store.Record, error) {
	if s.onRead != nil {
		s.onRead(key)
	}
	return s.Store.Read(key, opts...)
}

func (s *faultyStore) fail(after int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = after
}

func (s *faultyStore) change() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return errFault
	}
	s.left--
	return nil
}

func (s *faultyStore) Write(r *store.Record, opts ...store.WriteOption) error {
	if err := s.change(); err != nil {
		return err
	}
	return s.Store.Write(r, opts...)
}

func (s *faultyStore) Delete(key string, opts ...store.DeleteOption) error {
	if err := s.change(); err != nil {
		return err
	}
	return s.Store.Delete(key, opts...)
}

// content is all that is stored.
func (s *faultyStore) content(t testing.TB) map[string]string {
	t.Helper()
	records, err := s.Read("", store.ReadPrefix())
	require.NoError(t, err)
	found := make(map[string]string)
	for _, r := range records {
		found[r.Key] = string(r.Value)
	}
	return found
}

func as(c access.Caller) context.Context {
	return access.WithCaller(from(context.Background(), "192.0.2.1:1234"), c)
}

func from(ctx context.Context, address string) context.Context {
	return metadata.NewContext(ctx, metadata.Metadata{"X-Forwarded-For": address, "Remote": "127.0.0.1:1"})
}

func admin() context.Context { return as(access.Caller{Kind: access.Admin, ID: "admin"}) }

func service(name string) context.Context {
	return as(access.Caller{Kind: access.Service, ID: "service/" + name + "/latest", Service: name})
}

func customer(id string) context.Context { return as(access.Caller{Kind: access.Customer, ID: id}) }

func nobody() context.Context { return as(access.Caller{}) }

const secret = "correct horse"

// add makes a customer's account.
func (f *fixture) add(t require.TestingT, id string) {
	err := f.auth.Generate(service("customers"), &pb.GenerateRequest{Id: id, Type: "customer", Secret: secret}, new(pb.GenerateResponse))
	require.NoError(t, err)
}

func (f *fixture) token(ctx context.Context, req *pb.TokenRequest) (*pb.Token, error) {
	rsp := new(pb.TokenResponse)
	err := f.auth.Token(ctx, req, rsp)
	return rsp.Token, err
}

func (f *fixture) logInAs(id, secret string) (*pb.Token, error) {
	return f.token(nobody(), &pb.TokenRequest{Id: id, Secret: secret})
}

func (f *fixture) refreshWith(refresh string) (*pb.Token, error) {
	return f.token(nobody(), &pb.TokenRequest{RefreshToken: refresh})
}

func (f *fixture) changeSecret(ctx context.Context, id, old, next string) error {
	return f.accounts.ChangeSecret(ctx, &pb.ChangeSecretRequest{Id: id, OldSecret: old, NewSecret: next}, new(pb.ChangeSecretResponse))
}

func (f *fixture) remove(ctx context.Context, id string) error {
	return f.accounts.Delete(ctx, &pb.DeleteAccountRequest{Id: id}, new(pb.DeleteAccountResponse))
}

func (f *fixture) block(ctx context.Context, id string) error {
	return f.sessions.Block(ctx, &sessions.BlockRequest{Account: id}, new(sessions.BlockResponse))
}

func (f *fixture) unblock(ctx context.Context, id string) error {
	return f.sessions.Unblock(ctx, &sessions.UnblockRequest{Account: id}, new(sessions.UnblockResponse))
}

func (f *fixture) revoke(ctx context.Context, id, session string) error {
	return f.sessions.Revoke(ctx, &sessions.RevokeRequest{Account: id, Session: session, All: session == ""}, new(sessions.RevokeResponse))
}

func (f *fixture) list(ctx context.Context, id string) ([]*sessions.Session, error) {
	rsp := new(sessions.ListResponse)
	err := f.sessions.List(ctx, &sessions.ListRequest{Account: id}, rsp)
	return rsp.Sessions, err
}

func requireKind(t require.TestingT, kind errors.Kind, err error, what ...any) {
	require.Error(t, err, what...)
	require.Equal(t, kind, errors.KindOf(err), what...)
}

// requireLogInAgain is what Micro's clients understand: see errRefresh.
func requireLogInAgain(t require.TestingT, err error) {
	requireKind(t, errors.KindInvalid, err)
	require.Equal(t, "invalid token provided", err.Error())
}

func TestNewIsGivenEverything(t *testing.T) {
	t.Parallel()
	f := setup(t)
	whole := f.Config
	for _, without := range []func(*Config){
		func(c *Config) { c.Store = nil }, func(c *Config) { c.Signer = nil },
		func(c *Config) { c.Verifier = nil }, func(c *Config) { c.Root = nil },
	} {
		c := whole
		without(&c)
		_, err := New(c)
		require.Error(t, err)
	}
	whole.Clock = nil
	i, err := New(whole)
	require.NoError(t, err)
	require.GreaterOrEqual(t, i.secrets.cost, 10)
	require.WithinDuration(t, time.Now(), i.Clock(), time.Minute)
}

func TestCreateAdmin(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.NoError(t, f.CreateAdmin("admin", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	before := f.store.content(t)
	require.NoError(t, f.CreateAdmin("admin", "another secret"))
	require.Equal(t, before, f.store.content(t))
	issued, err := f.logInAs("admin", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	require.NoError(t, err)
	found, _, err := f.Verifier.Inspect(issued.AccessToken)
	require.NoError(t, err)
	require.Equal(t, access.Caller{Kind: access.Admin, ID: "admin"}, access.CallerOf(found))
	// One that another admin has deleted does not come back with the next start.
	_, err = f.generate(admin(), &pb.GenerateRequest{Id: "second", Type: "user", Scopes: []string{"admin"}, Secret: secret})
	require.NoError(t, err)
	require.NoError(t, f.remove(access.WithCaller(context.Background(), access.Caller{Kind: access.Admin, ID: "second"}), "admin"))
	require.NoError(t, f.CreateAdmin("admin", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	_, err = f.logInAs("admin", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	require.Equal(t, errCredentials, err)
	requireKind(t, errors.KindInvalid, setup(t).CreateAdmin("other", "short"))
}
