package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const tokenOfTests = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Each mail as a whole, with and without a link, beside what it was when somebody last looked at it.
func TestMails(t *testing.T) {
	t.Parallel()
	linked := DefaultSettings()
	linked.Token.TTL = 90 * time.Minute
	linked.Links = LinkSettings{Signup: "https://example.com/signup?lang=en", Reset: "https://example.com/reset"}
	for name, tc := range map[string]struct {
		kind     Kind
		settings Settings
	}{
		"verify": {KindVerify, DefaultSettings()}, "exists": {KindExists, DefaultSettings()}, "reset": {KindReset, DefaultSettings()},
		"incomplete": {KindIncomplete, DefaultSettings()}, "unknown": {KindUnknown, DefaultSettings()},
		"unusable": {KindUnusable, DefaultSettings()}, "welcome": {KindWelcome, DefaultSettings()},
		"change": {KindChange, DefaultSettings()}, "taken": {KindTaken, DefaultSettings()}, "changing": {KindChanging, DefaultSettings()},
		"verify_linked": {KindVerify, linked}, "reset_linked": {KindReset, linked}, "exists_linked": {KindExists, linked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Signup{settings: tc.settings}
			m, err := s.render(tc.kind, content{To: "o'hara+tag=1&x@example.com", Token: tokenOfTests, GoodFor: "59 minutes"})
			require.NoError(t, err)
			got := "Subject: " + m.Subject + "\n\n" + m.Text + "\n" + m.HTML
			file := filepath.Join("testdata", "mails", name+".golden")
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
			require.NotContains(t, m.Text, "\n\n\n")
		})
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	settings := DefaultSettings()
	settings.Templates = map[string]TemplateSettings{"welcome": {Subject: "Hello <you> & {{.Token}}"}, "verify": {}}
	s := &Signup{settings: settings}
	m, err := s.render(KindWelcome, content{To: "jane@example.com"})
	require.NoError(t, err)
	require.Equal(t, "Hello <you> & {{.Token}}", m.Subject)
	require.Contains(t, m.HTML, "<title>Hello &lt;you&gt; &amp; {{.Token}}</title>")
	m, err = s.render(KindVerify, content{To: "jane@example.com"})
	require.NoError(t, err)
	require.Equal(t, subjects[KindVerify], m.Subject)
	for _, kind := range kinds {
		require.NotEmpty(t, subjects[kind], kind)
		require.NoError(t, checkRendered(s, kind), kind)
	}
}

func checkRendered(s *Signup, kind Kind) error {
	_, err := s.render(kind, content{})
	return err
}

func TestReadable(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		time.Minute: "1 minute", time.Hour: "1 hour", 24 * time.Hour: "1 day", 7 * 24 * time.Hour: "7 days", 90 * time.Minute: "90 minutes",
		61 * time.Second: "61 seconds", 1500 * time.Millisecond: "1.5s",
	} {
		require.Equal(t, want, readable(d))
	}
}

// Whatever is taken for a token is one as it was made, however it was written.
func FuzzToken(f *testing.F) {
	for _, s := range []string{tokenOfTests, " " + strings.ToLower(tokenOfTests) + "\r\n", "", "ſBCDEFGHIJKLMNOPQRSTUVWXYZ", newToken()} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, err := parseToken(s)
		if err != nil {
			require.Equal(t, errToken, err)
			return
		}
		require.Len(t, token, 26)
		require.True(t, strings.EqualFold(token, strings.TrimSpace(s)))
		again, err := parseToken(token)
		require.NoError(t, err)
		require.Equal(t, token, again)
	})
}

// A link that is configured stays one line, and leads nowhere else, whatever is put behind it.
func FuzzLink(f *testing.F) {
	f.Add("https://example.com/a?b=c", "jane@example.com")
	f.Add("http://[::1]:80", "a\"<b>@example.com")
	f.Fuzz(func(t *testing.T, link, to string) {
		if !isLink(link) {
			return
		}
		got := LinkSettings{Signup: link}.of(KindVerify, to, tokenOfTests)
		if link == "" {
			require.Empty(t, got)
			return
		}
		rest, ok := strings.CutPrefix(got, link+"#")
		require.True(t, ok)
		require.True(t, isLine(got))
		require.NotContains(t, rest, "#")
		require.True(t, strings.HasSuffix(rest, "&token="+tokenOfTests))
	})
}

// Tokens are not guessed, and their hashes are of one address and one purpose.
func TestHashes(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 100 {
		token := newToken()
		parsed, err := parseToken(token)
		require.NoError(t, err)
		require.Equal(t, token, parsed)
		for _, p := range []purpose{forVerification, forReset} {
			for _, address := range []string{"a@b.c", "a@b.d"} {
				hash := p.hash(address, token)
				require.False(t, seen[hash])
				seen[hash] = true
			}
		}
	}
}
