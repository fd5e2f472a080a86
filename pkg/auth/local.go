package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
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

// Local is a Micro auth that remembers what another one has found out. Everything but Inspect, Rules and Verify is the
// other's. It is safe for concurrent use.
type Local struct {
	auth.Auth
	clock func() time.Time

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

// NewLocal puts a Local in front of an auth.
func NewLocal(inner auth.Auth) *Local {
	return &Local{Auth: inner, clock: time.Now, tokens: make(map[[sha256.Size]byte]known)}
}

// Inspect returns the account of a token, or an error if the token is not good now.
func (l *Local) Inspect(token string) (*auth.Account, error) {
	if token == "" {
		return nil, auth.ErrInvalidToken
	}
	key := sha256.Sum256([]byte(token))
	l.mu.RLock()
	k, ok := l.tokens[key]
	l.mu.RUnlock()
	if ok && l.clock().Before(k.expiry) {
		account := k.account
		return &account, nil
	}
	account, err := l.Auth.Inspect(token)
	if err != nil {
		return nil, err
	}
	if expiry, ok := expiryOf(token); ok {
		l.remember(key, known{account: *account, expiry: expiry})
	}
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

// expiryOf reads when a JWT expires, in whole seconds as RFC 7519 (4.1.4) has it. The token must have been checked.
func expiryOf(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expiry int64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expiry == 0 {
		return time.Time{}, false
	}
	return time.Unix(claims.Expiry, 0), true
}

// Verify tells whether an account may use a resource, by the rules that are known.
func (l *Local) Verify(account *auth.Account, resource *auth.Resource, opts ...auth.VerifyOption) error {
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
