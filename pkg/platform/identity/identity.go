package identity

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/service/store"
	"github.com/micro/micro/v3/util/auth/namespace"
	"golang.org/x/crypto/bcrypt"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/sessions"
	"github.com/m3o/backend/pkg/auth/token"
)

// Config is what an Identity needs.
type Config struct {
	// Store keeps accounts and sessions. No other process may write what is kept.
	Store store.Store
	// Signer makes the access tokens, Verifier answers Inspect. Both have the keys of the same directory.
	Signer   *token.Signer
	Verifier *token.Verifier
	// Root is what the secrets of the platform's parts and of services are derived from.
	Root token.Root
	// Clock tells the time; time.Now when it is nil.
	Clock func() time.Time
}

// Identity knows the accounts and who is logged in. It is safe for concurrent use.
type Identity struct {
	Config
	attempts *attempts
	secrets  *secrets
	locks    locks
}

// New returns an Identity.
func New(c Config) (*Identity, error) { return newIdentity(c, bcrypt.DefaultCost) }

func newIdentity(c Config, cost int) (*Identity, error) {
	if c.Store == nil || c.Signer == nil || c.Verifier == nil || len(c.Root) == 0 {
		return nil, errors.New("identity: expected a store, a signer, a verifier and a root")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	s, err := newSecrets(cost)
	if err != nil {
		return nil, err
	}
	return &Identity{Config: c, attempts: newAttempts(c.Clock), secrets: s, locks: locks{seed: maphash.MakeSeed()}}, nil
}

// Register registers the handlers of Auth, Accounts and Sessions.
func (i *Identity) Register(s server.Server) error {
	if err := pb.RegisterAuthHandler(s, authHandler{i}); err != nil {
		return fmt.Errorf("register Auth: %w", err)
	}
	if err := pb.RegisterAccountsHandler(s, accountsHandler{i}); err != nil {
		return fmt.Errorf("register Accounts: %w", err)
	}
	if err := sessions.RegisterSessionsHandler(s, sessionsHandler{i}); err != nil {
		return fmt.Errorf("register Sessions: %w", err)
	}
	return nil
}

// CreateAdmin makes an admin's account unless there is one, of whatever id, which is left as it is: its secret may have been
// changed, and one that another admin has deleted must not come back. It is for the process itself; whoever calls from outside has to be an admin already.
func (i *Identity) CreateAdmin(id, secret string) error {
	known, err := i.accounts()
	if err != nil || slices.ContainsFunc(known, func(a *account) bool { return slices.Contains(a.Scopes, "admin") }) {
		return err
	}
	_, err = i.create(access.Caller{Kind: access.Admin}, &auth.Account{
		ID: id, Name: id, Type: typeUser, Issuer: namespace.DefaultNamespace, Scopes: []string{"admin"}, Secret: secret,
	})
	return err
}

// locks are the mutexes of accounts and names. Several share one, so that there is a bounded number of them.
type locks struct {
	seed    maphash.Seed
	mutexes [64]sync.Mutex
}

// lock locks what belongs to all the parts, until unlock is called.
func (l *locks) lock(parts ...string) (unlock func()) {
	var shards []int
	for _, part := range parts {
		shards = append(shards, int(maphash.String(l.seed, part)%uint64(len(l.mutexes))))
	}
	slices.Sort(shards) // always in this order, so that nobody waits for somebody who waits for them
	shards = slices.Compact(shards)
	for _, s := range shards {
		l.mutexes[s].Lock()
	}
	return func() {
		for _, s := range shards {
			l.mutexes[s].Unlock()
		}
	}
}
