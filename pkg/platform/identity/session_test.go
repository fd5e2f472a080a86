package identity

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/errors"
)

// modelSession is what a session should be: in other words than session has it.
type modelSession struct {
	account  string
	ended    bool
	created  time.Time
	lastUsed time.Time
	live     []string
	spentAt  map[string]time.Time
}

type modelAccount struct {
	blocked bool
	secret  string
}

// machine does what callers do, in any order, and compares what comes of it with the model.
type machine struct {
	*fixture
	accounts map[string]*modelAccount
	sessions []*modelSession
	tokens   []string // all refresh tokens that there ever were
}

var logins = []string{"jane", "joe"}

func (m *machine) end(account string) {
	for _, s := range m.sessions {
		s.ended = s.ended || s.account == account
	}
}

func (m *machine) draw(r *rapid.T) string { return rapid.SampledFrom(logins).Draw(r, "account") }

// answer compares what came of naming an account.
func (m *machine) answer(r *rapid.T, id string, err error) bool {
	if m.accounts[id] == nil {
		requireKind(r, errors.KindNotFound, err)
		return false
	}
	require.NoError(r, err)
	return true
}

func (m *machine) Create(r *rapid.T) {
	id := m.draw(r)
	if m.accounts[id] != nil {
		r.Skip("it is there")
	}
	m.add(r, id)
	m.accounts[id] = &modelAccount{secret: secret}
}

func (m *machine) Delete(r *rapid.T) {
	id := m.draw(r)
	if m.answer(r, id, m.remove(admin(), id)) {
		delete(m.accounts, id)
		m.end(id)
	}
}

func (m *machine) Block(r *rapid.T) {
	id := m.draw(r)
	if m.answer(r, id, m.block(admin(), id)) {
		m.accounts[id].blocked = true
		m.end(id)
	}
}

func (m *machine) Unblock(r *rapid.T) {
	id := m.draw(r)
	if m.answer(r, id, m.unblock(admin(), id)) {
		m.accounts[id].blocked = false
	}
}

func (m *machine) ChangeSecret(r *rapid.T) {
	id, next := m.draw(r), rapid.SampledFrom([]string{secret, "another secret"}).Draw(r, "secret")
	if m.answer(r, id, m.changeSecret(admin(), id, "", next)) {
		m.accounts[id].secret = next
		m.end(id)
	}
}

func (m *machine) RevokeAll(r *rapid.T) {
	id := m.draw(r)
	if m.answer(r, id, m.revoke(admin(), id, "")) {
		m.end(id)
	}
}

func (m *machine) Wait(r *rapid.T) {
	m.turn(rapid.SampledFrom([]time.Duration{
		time.Second, 5 * time.Second, grace, grace + time.Nanosecond, time.Hour, 11 * 24 * time.Hour,
	}).Draw(r, "wait"))
}

func (m *machine) LogIn(r *rapid.T) {
	m.begin(r, m.draw(r), rapid.SampledFrom([]string{secret, "another secret"}).Draw(r, "secret"))
}

func (m *machine) begin(r *rapid.T, id, given string) {
	issued, err := m.logInAs(id, given)
	switch a := m.accounts[id]; {
	case a == nil || a.secret != given:
		require.Equal(r, errCredentials, err)
	case a.blocked:
		requireKind(r, errors.KindForbidden, err)
	default:
		require.NoError(r, err)
		m.sessions = append(m.sessions, &modelSession{
			account: id, created: m.clock(), lastUsed: m.clock(), live: []string{issued.RefreshToken}, spentAt: make(map[string]time.Time),
		})
		m.tokens = append(m.tokens, issued.RefreshToken)
	}
}

func (m *machine) Refresh(r *rapid.T) {
	if len(m.tokens) == 0 {
		r.Skip("there is none")
	}
	// The newest are more interesting.
	back := min(rapid.IntRange(0, 6).Draw(r, "back"), len(m.tokens)-1)
	refresh := m.tokens[len(m.tokens)-1-back]
	issued, err := m.refreshWith(refresh)

	at := slices.IndexFunc(m.sessions, func(s *modelSession) bool {
		_, spent := s.spentAt[refresh]
		return spent || slices.Contains(s.live, refresh)
	})
	require.GreaterOrEqual(r, at, 0)
	s := m.sessions[at]
	s.ended = s.ended || m.clock().Sub(s.created) >= sessionAge
	spentAt, spent := s.spentAt[refresh]
	if s.ended || spent && m.clock().Sub(spentAt) > grace {
		s.ended = true
		requireLogInAgain(r, err)
		return
	}
	require.NoError(r, err)
	if !spent {
		s.live = slices.DeleteFunc(s.live, func(t string) bool { return t == refresh })
		s.spentAt[refresh] = m.clock()
	}
	s.live, s.lastUsed = append(s.live, issued.RefreshToken), m.clock()
	m.tokens = append(m.tokens, issued.RefreshToken)
}

func (m *machine) Revoke(r *rapid.T) {
	id := m.draw(r)
	listed, err := m.list(admin(), id)
	if !m.answer(r, id, err) || len(listed) == 0 {
		return
	}
	chosen := rapid.SampledFrom(listed).Draw(r, "session")
	require.NoError(r, m.revoke(admin(), id, chosen.Id))
	left, err := m.list(admin(), id)
	require.NoError(r, err)
	require.Len(r, left, len(listed)-1)
	// Which one of the model it was: the one with a token whose session's id it is.
	for _, s := range m.sessions {
		if _, id, _ := sessionIDOf(s.live[0]); id == chosen.Id {
			s.ended = true
		}
	}
}

// Check compares what is listed with the model, after each step.
func (m *machine) Check(r *rapid.T) {
	for _, id := range logins {
		listed, err := m.list(admin(), id)
		if !m.answer(r, id, err) {
			continue
		}
		var want, got []string
		for _, s := range m.sessions {
			if !s.ended && s.account == id && m.clock().Sub(s.created) < sessionAge {
				want = append(want, fmt.Sprint(s.created.Unix(), s.lastUsed.Unix(), s.created.Add(sessionAge).Unix()))
			}
		}
		for _, s := range listed {
			got = append(got, fmt.Sprint(s.Created, s.LastUsed, s.Expires))
		}
		require.ElementsMatch(r, want, got)
	}
	m.attempts = newAttempts(m.clock) // they have a test of their own
}

func TestSessions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		m := &machine{fixture: setup(t), accounts: make(map[string]*modelAccount)}
		m.add(r, "jane")
		m.accounts["jane"] = &modelAccount{secret: secret}
		m.begin(r, "jane", secret)
		r.Repeat(map[string]func(*rapid.T){
			"": m.Check, "create": m.Create, "delete": m.Delete, "block": m.Block, "unblock": m.Unblock, "change secret": m.ChangeSecret,
			"revoke all": m.RevokeAll, "revoke": m.Revoke, "wait": m.Wait, "wait again": m.Wait, "log in": m.LogIn, "log in again": m.LogIn,
			"refresh": m.Refresh, "refresh again": m.Refresh, "and again": m.Refresh, "and once more": m.Refresh,
		})
	})
}

// Of tokens that were never used only so many stay good; the newest do.
func TestTokensOfASessionAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s, first := newSession(&account{}, now)
	var all []string
	for range 2 * maxTokens {
		next, ok := s.rotate(first, now)
		require.True(t, ok, "within the grace")
		all = append(all, next)
	}
	require.Len(t, s.Live, maxTokens)
	for _, refresh := range all[maxTokens:] {
		_, ok := s.rotate(refresh, now)
		require.True(t, ok)
	}
	require.Len(t, s.Live, maxTokens)
	require.Len(t, s.Spent, maxTokens)
	_, ok := s.rotate(all[0], now)
	require.False(t, ok)
	_, ok = s.rotate(all[len(all)-1], now.Add(grace+time.Nanosecond))
	require.False(t, ok)
	require.Empty(t, s.Spent)
}
