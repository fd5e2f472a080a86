package service

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/errors"
)

func FuzzPageToken(f *testing.F) {
	list := ListQuery{Prefix: "jane", Status: Active}
	const id = "0190f8b0-0000-7000-8000-000000000000"
	f.Add(position{Phase: byName, Key: "jane d", ID: id}.token(list))
	f.Add(position{Phase: byAddress, Key: "jane@example.com"}.token(list))
	f.Add(position{Phase: byCreation, Created: 1, ID: id}.token(list))
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := parseToken("page_token", token, list)
		if err != nil {
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
			return
		}
		require.Equal(t, token, p.token(list), "there is one token for each position")
	})
}

// What callers with a blocked key are told is one line that shows as it was written, whatever an operator writes.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "Call us", " früh 😀\n", "a\r\nSet-Cookie: b", "a\u202eb", "a\u2028b", "\xff", strings.Repeat("ü", 201)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line, err := checkLine("message", s, maxMessage)
		if err != nil {
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
			require.Empty(t, line)
			return
		}
		require.NotEmpty(t, line)
		require.LessOrEqual(t, utf8.RuneCountInString(line), maxMessage)
		require.Equal(t, line, strings.Join(strings.Split(line, "\n"), ""))
		require.Equal(t, strings.TrimSpace(s), line)
		again, err := checkLine("message", line, maxMessage)
		require.NoError(t, err)
		require.Equal(t, line, again)
	})
}

// The token of a position is taken back for its own list, and for no other.
func TestTokens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(1, 256, -1)
		list := ListQuery{Prefix: text.Draw(t, "prefix"), Status: Active}
		p := position{Phase: byName, Key: list.Prefix + text.Draw(t, "key"), ID: "0190f8b0-0000-7000-8000-000000000000"}
		got, err := parseToken("page_token", p.token(list), list)
		require.NoError(t, err)
		p.List = got.List
		require.Equal(t, p, got)

		other := ListQuery{Prefix: text.Filter(func(s string) bool { return s != list.Prefix }).Draw(t, "other"), Status: Active}
		_, err = parseToken("page_token", p.token(list), other)
		require.Error(t, err)
		p.Key = other.Prefix
		if !strings.HasPrefix(p.Key, list.Prefix) {
			_, err = parseToken("page_token", p.token(list), list)
			require.Error(t, err, "a forged one, outside of the list")
		}
	})
}
