package auth

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	tokens map[string]known

	rules   atomic.Pointer[ruleset] // nil as long as they are not known
	rulesMu sync.Mutex              // for asking for the first time
	asking  atomic.Bool
}

// known is a token that was found good: whose it is, and until when. Whoever is handed the account must not change it.
type known struct {
	account *auth.Account
	expiry  time.Time
}

// ruleset is the rules as they were last heard of.
type ruleset struct {
	rules []*auth.Rule
	// open says that they grant everything to everybody.
	open  bool
	askAt time.Time // when they are to be asked for again
}

// NewLocal returns a Local.
func NewLocal(config Config) *Local {
	return &Local{Auth: config.Auth, config: config, clock: time.Now, tokens: make(map[string]known)}
}

// Inspect returns the account of a token, or an error if the token is not good now. Whoever gets it may change it.
func (l *Local) Inspect(token string) (*auth.Account, error) {
	account, err := l.inspect(token)
	if err != nil {
		return nil, err
	}
	return Clone(account), nil
}

// InspectShared is Inspect of Micro's auth for callers that do not change the account, which others get as well.
func InspectShared(token string) (*auth.Account, error) {
	if l, ok := auth.DefaultAuth.(*Local); ok {
		return l.inspect(token)
	}
	return auth.Inspect(token)
}

// Clone returns a copy of an account that has nothing in common with it; nil of nil.
func Clone(account *auth.Account) *auth.Account {
	if account == nil {
		return nil
	}
	c := *account
	c.Scopes, c.Metadata = slices.Clone(c.Scopes), maps.Clone(c.Metadata)
	return &c
}

// inspect looks a token up as it is: to hash it first, so that it is not kept, would cost more than all the rest, and keep
// nothing from anybody, because gRPC has it in the tables of its connections.
func (l *Local) inspect(token string) (*auth.Account, error) {
	if token == "" {
		return nil, auth.ErrInvalidToken
	}
	l.mu.RLock()
	k, ok := l.tokens[token]
	l.mu.RUnlock()
	if ok && l.clock().Before(k.expiry) {
		return k.account, nil
	}
	account, expiry, err := l.config.Inspect(token)
	if err != nil {
		return nil, err
	}
	l.remember(strings.Clone(token), known{account: account, expiry: expiry})
	return account, nil
}

// remember keeps a token, which must not be a part of a longer text.
func (l *Local) remember(token string, k known) {
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
	l.tokens[token] = k
}

// Verify tells whether an account may use a resource, by the rules that are known.
func (l *Local) Verify(account *auth.Account, resource *auth.Resource, opts ...auth.VerifyOption) error {
	if l.config.Unruled {
		return nil
	}
	known, err := l.ruleset()
	if err != nil {
		return err
	}
	if known.open {
		return nil // on a platform without rules of its own, which is what most calls are made on
	}
	return rules.VerifyAccess(known.rules, account, resource, opts...)
}

// grantsEverything tells whether a rule lets everybody use anything, as Micro's default does.
func grantsEverything(r *auth.Rule) bool {
	return r.Scope == auth.ScopePublic && r.Access == auth.AccessGranted && r.Resource != nil &&
		*r.Resource == auth.Resource{Type: "*", Name: "*", Endpoint: "*"}
}

// Rules returns the access rules. Only the first call waits for an answer of the auth service; later ones get what is
// known, and see to it that it is asked again.
func (l *Local) Rules(...auth.RulesOption) ([]*auth.Rule, error) {
	known, err := l.ruleset()
	if err != nil {
		return nil, err
	}
	return known.rules, nil
}

func (l *Local) ruleset() (*ruleset, error) {
	known := l.rules.Load()
	if known == nil {
		l.rulesMu.Lock()
		defer l.rulesMu.Unlock()
		if known = l.rules.Load(); known != nil {
			return known, nil
		}
		found, err := l.Auth.Rules()
		if err != nil {
			return nil, err
		}
		return l.learn(found), nil
	}
	if !l.clock().Before(known.askAt) && l.asking.CompareAndSwap(false, true) {
		go l.ask()
	}
	return known, nil
}

// ask asks for the rules in the background.
func (l *Local) ask() {
	defer l.asking.Store(false)
	if l.clock().Before(l.rules.Load().askAt) {
		return // somebody has, since this was found out
	}
	found, err := l.Auth.Rules()
	if err != nil {
		logger.Warnf("The access rules cannot be asked for, the known ones stay in effect: %v", err)
		again := *l.rules.Load()
		again.askAt = l.clock().Add(retryAge)
		l.rules.Store(&again)
		return
	}
	l.learn(found)
}

func (l *Local) learn(found []*auth.Rule) *ruleset {
	known := &ruleset{rules: found, askAt: l.clock().Add(RulesAge)}
	known.open = len(found) == 1 && grantsEverything(found[0])
	l.rules.Store(known)
	return known
}
