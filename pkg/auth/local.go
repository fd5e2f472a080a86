package auth

import (
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/util/auth/rules"
)

const (
	// RulesAge is how long access rules are used before they are asked for again.
	RulesAge = time.Minute
	// retryAge is how long is waited before they are asked for again when that failed.
	retryAge = 5 * time.Second
	// maxTokens bounds how many tokens are remembered.
	maxTokens = 10_000
)

// Inspector checks a token and returns whose it is and when it expires.
type Inspector func(token string) (*auth.Account, time.Time, error)

// Config is what a Local needs.
type Config struct {
	// Auth is Micro's client of the auth service, for everything that is not done here.
	Auth auth.Auth
	// Inspect checks tokens.
	Inspect Inspector
	// Login logs a part of the platform or a service in; nil asks the auth service.
	Login func(id, secret string) (*auth.AccountToken, error)
	// Unruled is for core services, whose RPCs all have a policy: no other rules are asked for.
	Unruled bool
	// Eager lets the process start before it is logged in. It is for the registry, without which nobody can log in.
	Eager bool
}

// Local is the auth of one process: a Micro auth that needs no other process to tell who calls, and that keeps this one
// logged in. It is safe for concurrent use.
type Local struct {
	auth.Auth
	config Config
	clock  func() time.Time
	token  atomic.Pointer[auth.AccountToken]
	keep   sync.Once

	mu     sync.RWMutex
	tokens map[[sha256.Size]byte]known

	rulesMu    sync.Mutex
	rules      []*auth.Rule
	rulesKnown bool
	askAt      time.Time // when the rules are to be asked for again
	asking     bool
}

// known is a token that was found good: whose it is, and until when. Only the token's hash is kept.
type known struct {
	account auth.Account
	expiry  time.Time
}

// NewLocal returns a Local.
func NewLocal(config Config) *Local {
	return &Local{Auth: config.Auth, config: config, clock: time.Now, tokens: make(map[[sha256.Size]byte]known)}
}

// Inspect returns the account of a token, or an error if the token is not good now.
func (l *Local) Inspect(token string) (*auth.Account, error) {
	if token == "" {
		return nil, auth.ErrInvalidToken
	}
	key := sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token))) //nolint:gosec // a copy for each call would cost more than the rest
	l.mu.RLock()
	k, ok := l.tokens[key]
	l.mu.RUnlock()
	if ok && l.clock().Before(k.expiry) {
		account := k.account // whoever gets it may change it
		account.Scopes, account.Metadata = slices.Clone(account.Scopes), maps.Clone(account.Metadata)
		return &account, nil
	}
	account, expiry, err := l.config.Inspect(token)
	if err != nil {
		return nil, err
	}
	l.remember(key, known{account: *account, expiry: expiry})
	return account, nil
}

func (l *Local) remember(key [sha256.Size]byte, k known) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.tokens) >= maxTokens {
		now := l.clock()
		for other, k := range l.tokens {
			if now.After(k.expiry) {
				delete(l.tokens, other)
			}
		}
		if len(l.tokens) >= maxTokens {
			clear(l.tokens) // checking everybody once more is cheaper than finding out whom to forget
		}
	}
	l.tokens[key] = k
}

// Verify tells whether an account may use a resource, by the rules that are known.
func (l *Local) Verify(account *auth.Account, resource *auth.Resource, opts ...auth.VerifyOption) error {
	if l.config.Unruled {
		return nil
	}
	known, err := l.Rules()
	if err != nil {
		return err
	}
	if len(known) == 1 && grantsEverything(known[0]) {
		return nil // on a platform without rules of its own, which is what most calls are made on
	}
	return rules.VerifyAccess(known, account, resource, opts...)
}

// grantsEverything tells whether a rule lets everybody use anything, as Micro's default does.
func grantsEverything(r *auth.Rule) bool {
	return r.Scope == auth.ScopePublic && r.Access == auth.AccessGranted &&
		*r.Resource == auth.Resource{Type: "*", Name: "*", Endpoint: "*"}
}

// Rules returns the access rules. Only the first call waits for an answer of the auth service; later ones get what is
// known, and see to it that it is asked again.
func (l *Local) Rules(...auth.RulesOption) ([]*auth.Rule, error) {
	l.rulesMu.Lock()
	defer l.rulesMu.Unlock()
	if !l.rulesKnown {
		found, err := l.Auth.Rules()
		if err != nil {
			return nil, err
		}
		l.learn(found)
		return found, nil
	}
	if !l.asking && !l.clock().Before(l.askAt) {
		l.asking = true
		go l.ask()
	}
	return l.rules, nil
}

// ask asks for the rules in the background.
func (l *Local) ask() {
	found, err := l.Auth.Rules()
	l.rulesMu.Lock()
	defer l.rulesMu.Unlock()
	l.asking = false
	if err != nil {
		logger.Warnf("The access rules cannot be asked for, the known ones stay in effect: %v", err)
		l.askAt = l.clock().Add(retryAge)
		return
	}
	l.learn(found)
}

func (l *Local) learn(found []*auth.Rule) {
	l.rules, l.rulesKnown, l.askAt = found, true, l.clock().Add(RulesAge)
}
