package address_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/address"
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
		got, err := address.Parse("email", s)
		if assert.NoError(t, err, s) {
			assert.Equal(t, want, got.Text)
			assert.Equal(t, strings.ToLower(want), got.Key)
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
		_, err := address.Parse("email", s)
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
		a, err := address.Parse("email", s)
		if err != nil {
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
			return
		}
		require.LessOrEqual(t, len(a.Text), 254)
		for _, c := range []byte(a.Text) {
			require.True(t, c > ' ' && c < 0x7f, "%q", a.Text)
		}
		again, err := address.Parse("email", a.Text)
		require.NoError(t, err, "what is kept is itself an address")
		require.Equal(t, a, again)
		key, err := address.Parse("email", a.Key)
		require.NoError(t, err)
		require.Equal(t, a.Key, key.Key)
	})
}

// An address in another case, or with its domain written otherwise, is the same address.
func TestAddressesWithoutRegardToCase(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.StringMatching(`[a-zA-Z0-9!#$%&'*+/=?^_{|}~-]{1,20}(\.[a-zA-Z0-9]{1,10}){0,2}`).Draw(t, "local")
		domain := rapid.StringMatching(`[a-zA-Zäöüß][a-zA-Z0-9äöü]{0,20}\.(com|ORG|Example)`).Draw(t, "domain")
		a, err := address.Parse("email", local+"@"+domain)
		require.NoError(t, err)
		for _, s := range []string{
			strings.ToUpper(local) + "@" + domain, strings.ToLower(local) + "@" + strings.ToLower(domain), a.Text, a.Key,
		} {
			b, err := address.Parse("email", s)
			require.NoError(t, err)
			require.Equal(t, a.Key, b.Key)
		}
	})
}

func TestDomain(t *testing.T) {
	t.Parallel()
	a, err := address.Parse("email", "Jane@Mail.BÜCHER.example")
	require.NoError(t, err)
	require.Equal(t, "mail.xn--bcher-kva.example", a.Domain())
	for s, want := range map[string]string{"Example.COM": "example.com", "bücher.example": "xn--bcher-kva.example", "a.b.c": "a.b.c"} {
		got, ok := address.Domain(s)
		require.True(t, ok, s)
		require.Equal(t, want, got)
	}
	for _, s := range []string{"", "com", "*.com", "10.0.0.1", "a b.com", "a..com", ".com", "a.com\n", "\xff.com"} {
		_, ok := address.Domain(s)
		require.False(t, ok, "%q", s)
	}
}
