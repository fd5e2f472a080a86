package service

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestKeyText(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		text := newKeyText()
		require.Regexp(t, `^mk_[0-9A-Za-z]{49}$`, text)
		require.Equal(t, "mk_", text[:3])
		hash, ok := hashKey(text)
		require.True(t, ok)
		require.NotContains(t, text, hash)
		require.False(t, seen[text] || seen[hash] || seen[text[:keyShown]])
		seen[text], seen[hash], seen[text[:keyShown]] = true, true, true
	}
	// A key that was given out is good for good: this one is written down.
	const one = "mk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
	hash, ok := hashKey(one + checksum(one))
	require.True(t, ok)
	assert.Equal(t, one+"182p0W", one+checksum(one))
	assert.Equal(t, "TRW4nYYfAUQHjnU4D-tmMz_yxIgwTD89y1P-iQxTt0o", hash)
}

// Whoever mistypes one character, drops or adds one or swaps two neighbours, has no key.
func TestMistypedKeys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(newKeyText())
		at := rapid.IntRange(0, len(text)-2).Draw(t, "at")
		other := rapid.SampledFrom([]byte(base62+"_-. \x00\xff")).Draw(t, "other")
		wrong := map[string]string{
			"replaced": string(text[:at]) + string(other) + string(text[at+1:]),
			"swapped":  string(text[:at]) + string([]byte{text[at+1], text[at]}) + string(text[at+2:]),
			"dropped":  string(text[:at]) + string(text[at+1:]),
			"added":    string(text[:at]) + string(other) + string(text[at:]),
			"cut":      string(text[:at]),
			"repeated": string(text) + string(text),
			"lower":    strings.ToLower(string(text)),
		}
		for what, w := range wrong {
			_, ok := hashKey(w)
			require.Equal(t, w == string(text), ok, "%s: %q of %q", what, w, text)
		}
	})
}

func FuzzKey(f *testing.F) {
	for range 3 {
		f.Add(newKeyText())
	}
	f.Add("")
	f.Add("mk_")
	f.Add("mk_" + strings.Repeat("0", keyDigits+keySum))
	f.Fuzz(func(t *testing.T, text string) {
		hash, ok := hashKey(text)
		if !ok {
			require.Empty(t, hash)
			return
		}
		require.Len(t, text, keyLength)
		body := text[:keyLength-keySum]
		require.Equal(t, body+checksum(body), text, "there is one checksum for each key")
		require.Len(t, hash, 43)
	})
}
