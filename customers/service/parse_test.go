package service

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/errors"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	label := strings.Repeat("b", 60)
	for s, want := range map[string]string{
		"jane@example.com":                                  "jane@example.com",
		"Jane@Example.COM":                                  "Jane@example.com",
		"o'hara+tag/x={a}@example.com":                      "o'hara+tag/x={a}@example.com",
		"a.b-c_d@sub.example.co.uk":                         "a.b-c_d@sub.example.co.uk",
		"jane@BÜCHER.example":                               "jane@xn--bcher-kva.example",
		"jane@bücher.example":                               "jane@xn--bcher-kva.example", // the same, composed otherwise
		"jane@xn--bcher-kva.example":                        "jane@xn--bcher-kva.example",
		"jane@例え。jp":                                        "jane@xn--r8jz45g.jp",
		"jane@exａmple.com":                                  "jane@example.com", // full width
		"jane@1and1.com":                                    "jane@1and1.com",
		"jane@example.com1":                                 "jane@example.com1",
		long + "@example.com":                               long + "@example.com",
		long + "@" + strings.Repeat(label+".", 3) + "bbbbb": long + "@" + strings.Repeat(label+".", 3) + "bbbbb", // 253
	} {
		got, err := parseAddress("email", s)
		if assert.NoError(t, err, s) {
			assert.Equal(t, want, got.text)
			assert.Equal(t, strings.ToLower(want), got.key)
		}
	}
	for s, want := range map[string]string{
		"":                        "required",
		"jane":                    "exactly one @",
		"@":                       "before the @",
		"jane@@example.com":       "exactly one @",
		"jane@doe@example.com":    "exactly one @",
		"@example.com":            "before the @",
		"jane@":                   "a domain name",
		".jane@example.com":       "before the @",
		"jane.@example.com":       "before the @",
		"ja..ne@example.com":      "before the @",
		"ja ne@example.com":       "before the @",
		" jane@example.com":       "before the @",
		"jane@example.com ":       "a domain name",
		"jane@example.com\n":      "a domain name",
		"ja\x00ne@example.com":    "before the @",
		"jäne@example.com":        "before the @",
		"jаne@example.com":        "before the @", // a Cyrillic а
		`"jane doe"@example.com`:  "before the @",
		"Jane <jane@example.com>": "before the @",
		"jane@localhost":          "a domain name",
		"jane@127.0.0.1":          "a domain name",
		"jane@[127.0.0.1]":        "a domain name",
		"jane@[IPv6:::1]":         "a domain name",
		"jane@example..com":       "a domain name",
		"jane@.example.com":       "a domain name",
		"jane@example.com.":       "a domain name",
		"jane@-example.com":       "a domain name",
		"jane@exa_mple.com":       "a domain name",
		"jane@exam ple.com":       "a domain name",
		"jane@xn--a.com":          "a domain name",
		"jane@exаmple\u202e.com":  "a domain name",
		"jane@" + strings.Repeat("b", 64) + ".com":        "a domain name",
		"jane@" + strings.Repeat("ü", 60) + ".com":        "a domain name",
		strings.Repeat("a", 65) + "@example.com":          "at most 64 bytes before the @",
		"jane@" + strings.Repeat(label+".", 4) + "bbbbbb": "at most 254 bytes",
		long + "@" + strings.Repeat("ü.", 25) + "example": "at most 254 bytes",
		strings.Repeat("a", 1<<20) + "@example.com":       "at most 254 bytes",
	} {
		_, err := parseAddress("email", s)
		require.Error(t, err, s)
		assert.Equal(t, errors.KindInvalid, errors.KindOf(err))
		assert.Regexp(t, "^email: .*"+want, err.Error(), s)
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"jane@example.com", "J@BÜCHER.example", "a@例え。jp", `"a"@b.c`, "a@[1]", "a@xn--bcher-kva.de", "a@b\u202e.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress("email", s)
		if err != nil {
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
			return
		}
		require.LessOrEqual(t, len(a.text), maxAddress)
		for _, c := range []byte(a.text) {
			require.True(t, c > ' ' && c < 0x7f, "%q", a.text)
		}
		again, err := parseAddress("email", a.text)
		require.NoError(t, err, "what is kept is itself an address")
		require.Equal(t, a, again)
		key, err := parseAddress("email", a.key)
		require.NoError(t, err)
		require.Equal(t, a.key, key.key)
	})
}

// An address in another case, or with its domain written otherwise, is the same address.
func TestAddressesWithoutRegardToCase(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.StringMatching(`[a-zA-Z0-9!#$%&'*+/=?^_{|}~-]{1,20}(\.[a-zA-Z0-9]{1,10}){0,2}`).Draw(t, "local")
		domain := rapid.StringMatching(`[a-zA-Zäöüß][a-zA-Z0-9äöü]{0,20}\.(com|ORG|Example)`).Draw(t, "domain")
		a, err := parseAddress("email", local+"@"+domain)
		require.NoError(t, err)
		for _, s := range []string{
			strings.ToUpper(local) + "@" + domain, strings.ToLower(local) + "@" + strings.ToLower(domain), a.text, a.key,
		} {
			b, err := parseAddress("email", s)
			require.NoError(t, err)
			require.Equal(t, a.key, b.key)
		}
	})
}

func FuzzPageToken(f *testing.F) {
	list := ListQuery{Prefix: "jane", Status: Active}
	const id = "0190f8b0-0000-7000-8000-000000000000"
	f.Add(position{Phase: byName, Key: "jane d", ID: id}.token(list))
	f.Add(position{Phase: byAddress, Key: "jane@example.com"}.token(list))
	f.Add(position{Phase: byCreation, ID: id}.token(list))
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
