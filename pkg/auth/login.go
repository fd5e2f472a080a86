package auth

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
)

const (
	// loginPause and maxLoginPause are how long is waited between attempts to log in, at first and at most.
	loginPause    = 50 * time.Millisecond
	maxLoginPause = 2 * time.Second
	// loginReport is how long a process tries to log in before it says that it does.
	loginReport = 10 * time.Second
)

// Token logs in. For the credentials that the platform has given to this process it takes as long as it takes: nothing can
// be done without a token, and the auth service may be starting as well, or again. From then on the process stays logged
// in. Only credentials that are refused at the first login are an error.
func (l *Local) Token(opts ...auth.TokenOption) (*auth.AccountToken, error) {
	options := auth.NewTokenOptions(opts...)
	if !strings.Contains(options.ID, "/") { // somebody's account
		return l.Auth.Token(opts...)
	}
	if l.config.Eager {
		l.keep.Do(func() { go l.stayLoggedIn(options.ID, options.Secret, nil) })
		return &auth.AccountToken{Expiry: l.clock().Add(-time.Second)}, nil // none yet
	}
	issued, err := l.login(options.ID, options.Secret)
	if err != nil {
		return nil, err
	}
	l.token.Store(issued)
	l.keep.Do(func() { go l.stayLoggedIn(options.ID, options.Secret, issued) })
	return issued, nil
}

// Options are those of Micro's client, with the token that this process has now.
func (l *Local) Options() auth.Options {
	options := l.Auth.Options()
	if issued := l.token.Load(); issued != nil {
		options.Token = issued
	}
	return options
}

// stayLoggedIn gets a new token when half of the current one's time is over, which leaves the other half to an auth service
// that is away. It never returns: a process is logged in until it ends.
func (l *Local) stayLoggedIn(id, secret string, issued *auth.AccountToken) {
	for {
		if issued != nil {
			time.Sleep(time.Until(issued.Expiry) / 2)
		}
		renewed, err := l.login(id, secret)
		if err != nil {
			logger.Errorf("The platform does not take this process's credentials any more: %v", err)
			time.Sleep(maxLoginPause) // the key they are made of may come back
			continue
		}
		issued = renewed
		l.token.Store(issued)
	}
}

// login asks for a token until there is one, or until the credentials are refused.
func (l *Local) login(id, secret string) (*auth.AccountToken, error) {
	pause, reported := loginPause, false
	for begin := time.Now(); ; {
		issued, err := l.askForToken(id, secret)
		if err == nil {
			return issued, nil
		}
		if code := errors.FromError(err).Code; code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusBadRequest {
			return nil, err
		}
		if !reported && time.Since(begin) > loginReport {
			logger.Warnf("Still trying to log in at the auth service: %v", err)
			reported = true
		}
		time.Sleep(pause/2 + rand.N(pause)) //nolint:gosec // not everybody asks at once; nothing is to be guessed
		pause = min(2*pause, maxLoginPause)
	}
}

func (l *Local) askForToken(id, secret string) (*auth.AccountToken, error) {
	if l.config.Login != nil {
		return l.config.Login(id, secret)
	}
	return l.Auth.Token(auth.WithCredentials(id, secret), auth.WithExpiry(time.Hour)) // the auth service caps it
}
