package service

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/errors"
)

// Whatever is taken for a name is within its limits, and stays what it is; whatever is refused names the field and does not
// repeat what was sent.
func FuzzName(f *testing.F) {
	for _, s := range []string{"", " Jane ", "Zoë", strings.Repeat("ä", 257), "a\x00b", afterAll, "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := checkName("name", s)
		if err != nil {
			requireRefused(t, err, "name", s)
			return
		}
		require.LessOrEqual(t, utf8.RuneCountInString(name), maxName)
		again, err := checkName("name", name)
		require.NoError(t, err)
		require.Equal(t, name, again)
	})
}

func FuzzMeta(f *testing.F) {
	for _, kv := range [][2]string{
		{"plan", "pilot"}, {"", "a"}, {strings.Repeat("k", 41), ""}, {"k", strings.Repeat("v", 501)}, {"k\n", "v\n"}, {"\xff", "\x00"},
	} {
		f.Add(kv[0], kv[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		meta, err := checkMeta("meta", map[string]string{key: value})
		if err != nil {
			requireRefused(t, err, "meta", "")
			return
		}
		require.Equal(t, map[string]string{key: value}, meta)
		n := utf8.RuneCountInString(key)
		require.True(t, n >= 1 && n <= maxMetaKey && utf8.RuneCountInString(value) <= maxMetaValue)
	})
}

func requireRefused(t *testing.T, err error, field, sent string) {
	t.Helper()
	require.Equal(t, errors.KindInvalid, errors.KindOf(err))
	require.True(t, strings.HasPrefix(err.Error(), field+": "), "%v", err)
	if len(sent) > 80 {
		require.NotContains(t, err.Error(), sent)
	}
}
