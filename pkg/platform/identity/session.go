package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/store"
)

const (
	// sessionAge is how long a session lasts.
	sessionAge = 30 * 24 * time.Hour
	// grace is how long a refresh token that was used is taken again.
	grace = 10 * time.Second
	// maxTokens is how many refresh tokens of a session are good at once, and how many that were used are remembered.
	maxTokens = 32
	// maxSessions is how many sessions an account has at once; the one that was not used for longest gives way.
	maxSessions = 100
)

// sessionPrefix is where sessions are stored.
const sessionPrefix = "session/"

// session is one log-in of an account, as it is stored.
type session struct {
	ID       string    `json:"id"`
	Account  string    `json:"account"`
	Epoch    string    `json:"epoch"` // the account's
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"last_used"`
	Expires  time.Time `json:"expires"`
	// Live are the hashes of the refresh tokens that are good, Spent of those that were used during the last grace.
	Live  []string `json:"live"`
	Spent []spent  `json:"spent,omitempty"`
}

type spent struct {
	Hash string    `json:"hash"`
	At   time.Time `json:"at"`
}

// refreshToken is "microrefresh_", the part of the account, the family that all tokens of a session share, and the
// token's own secret. The session's id has the family's hash: who knows the id, which access tokens have, cannot make a
// token that would be taken for a used one and end the session.
var refreshToken = regexp.MustCompile(`^microrefresh_([0-9a-f]{16})_([A-Z2-7]{26})_([A-Za-z0-9_-]{43})$`)

// noRefreshToken is what somebody gets who has to log in again with credentials. Micro's clients do so when a
// refresh token is refused; without one they would not.
const noRefreshToken = "microrefresh_none"

// sessionIDOf returns the id of the session that a refresh token is of, and the part of the account in it.
func sessionIDOf(text string) (part, id string, ok bool) {
	m := refreshToken.FindStringSubmatch(text)
	if m == nil {
		return "", "", false
	}
	return m[1], idOf(m[1], m[2]), true
}

func idOf(part, family string) string {
	sum := sha256.Sum256([]byte(family))
	return part + "-" + base32.StdEncoding.EncodeToString(sum[:15])
}

func newRefreshToken(part, family string) string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return "microrefresh_" + part + "_" + family + "_" + base64.RawURLEncoding.EncodeToString(secret)
}

func hashOf(refresh string) string {
	sum := sha256.Sum256([]byte(refresh))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newSession returns a session with its first refresh token.
func newSession(a *account, now time.Time) (*session, string) {
	part, family := partOf(a.ID), rand.Text()
	refresh := newRefreshToken(part, family)
	return &session{
		ID: idOf(part, family), Account: a.ID, Epoch: a.Epoch,
		Created: now, LastUsed: now, Expires: now.Add(sessionAge), Live: []string{hashOf(refresh)},
	}, refresh
}

// goesOn tells whether the session has neither ended by itself nor with a change of its account.
func (s *session) goesOn(a *account, now time.Time) bool {
	return a != nil && a.mayLogIn() && s.Account == a.ID && s.Epoch == a.Epoch && now.Before(s.Expires)
}

// rotate takes a refresh token of the session and returns the next one; false if it is not good.
func (s *session) rotate(refresh string, now time.Time) (string, bool) {
	s.Spent = slices.DeleteFunc(s.Spent, func(t spent) bool { return now.Sub(t.At) > grace })
	hash := hashOf(refresh)
	if at := slices.Index(s.Live, hash); at >= 0 {
		s.Live = slices.Delete(s.Live, at, at+1)
		s.Spent = newest(append(s.Spent, spent{hash, now}))
	} else if !slices.ContainsFunc(s.Spent, func(t spent) bool { return t.Hash == hash }) {
		return "", false
	}
	family := strings.Split(refresh, "_")[2]
	next := newRefreshToken(partOf(s.Account), family)
	s.Live = newest(append(s.Live, hashOf(next)))
	s.LastUsed = now
	return next, true
}

// newest leaves the last of a list, at most maxTokens.
func newest[T any](list []T) []T { return list[max(0, len(list)-maxTokens):] }

func (i *Identity) writeSession(s *session) error {
	text, err := json.Marshal(s)
	if err == nil {
		err = i.Store.Write(&store.Record{Key: sessionPrefix + s.ID, Value: text, Expiry: s.Expires.Sub(i.Clock())})
	}
	if err != nil {
		return fmt.Errorf("write a session: %w", err)
	}
	return nil
}

// sessionsOf returns the sessions of an account that go on, those used last first.
func (i *Identity) sessionsOf(a *account) ([]*session, error) {
	records, err := i.Store.Read(sessionPrefix+partOf(a.ID), store.ReadPrefix())
	if err != nil && !stderrors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the sessions: %w", err)
	}
	var found []*session
	for _, r := range records {
		s := new(session)
		if err := json.Unmarshal(r.Value, s); err != nil {
			return nil, fmt.Errorf("read the sessions: %w", err)
		}
		if s.goesOn(a, i.Clock()) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *session) int {
		if c := b.LastUsed.Compare(a.LastUsed); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return found, nil
}

// endSession ends one session, or none if there is none of that id.
func (i *Identity) endSession(id string) error {
	if err := i.Store.Delete(sessionPrefix + id); err != nil && !stderrors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}

// makeRoom ends the sessions of an account that are too many for one more.
func (i *Identity) makeRoom(a *account) error {
	keys, err := i.Store.List(store.ListPrefix(sessionPrefix + partOf(a.ID)))
	if err != nil {
		return fmt.Errorf("list the sessions: %w", err)
	}
	if len(keys) < maxSessions {
		return nil
	}
	found, err := i.sessionsOf(a)
	if err != nil {
		return err
	}
	for _, s := range found[min(len(found), maxSessions-1):] {
		if err := i.endSession(s.ID); err != nil {
			return err
		}
	}
	return nil
}

// sweep deletes the sessions of an account, all of which have ended with its epoch. What cannot be deleted expires.
func (i *Identity) sweep(account string) {
	keys, err := i.Store.List(store.ListPrefix(sessionPrefix + partOf(account)))
	if err != nil {
		logger.Warnf("Sessions that have ended are left over: %v", err)
	}
	for _, key := range keys {
		i.discard(key)
	}
}
