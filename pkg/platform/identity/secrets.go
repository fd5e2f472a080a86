package identity

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/m3o/backend/pkg/errors"
)

// maxQueue is how long a caller waits for a processor to check a secret.
const maxQueue = 3 * time.Second

// secrets hashes secrets and checks them, as many at once as there are processors: each takes a twentieth of a second of
// one, and whoever logs in must not keep everybody else from theirs.
type secrets struct {
	cost  int
	slots chan struct{}
	// nobody is the hash of a secret that nobody knows. It is checked where there is no account, which then takes as long.
	nobody []byte
}

func newSecrets(cost int) (*secrets, error) {
	nobody, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	if err != nil {
		return nil, fmt.Errorf("hash a secret: %w", err)
	}
	return &secrets{cost: cost, slots: make(chan struct{}, runtime.NumCPU()), nobody: nobody}, nil
}

// enter waits for a processor, which leave gives back.
func (s *secrets) enter(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, maxQueue)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, errors.TooMany("too many are logging in or signing up: try again in %d seconds", int(maxQueue.Seconds()))
	}
}

// hash returns the hash of a secret that is valid. The caller has entered, or is the process itself.
func (s *secrets) hash(secret string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), s.cost)
	if err != nil {
		return "", fmt.Errorf("hash a secret: %w", err)
	}
	return string(hash), nil
}

// right tells whether a secret is an account's, which may be nil, after the same time in any case. The caller has entered.
func (s *secrets) right(a *account, secret string) bool {
	hash := s.nobody
	possible := a != nil && isSecret(secret)
	if possible {
		hash = []byte(a.Secret)
	}
	return bcrypt.CompareHashAndPassword(hash, []byte(secret[:min(len(secret), maxSecret)])) == nil && possible
}
