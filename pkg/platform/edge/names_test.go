package edge

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/gateway"
)

// What names are is easier to see in an expression, which takes ten times as long to say no.
func TestNamesAreThoseOfTheExpressions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		is      func(string) bool
		pattern string
		letters string
	}{
		"part": {gateway.IsPart, `^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$`, `[aZ09\-_. ]`},
		"name": {isName, `^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`, `[azA09\-_. ]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pattern := regexp.MustCompile(tc.pattern)
			rapid.Check(t, func(rt *rapid.T) {
				text := rapid.StringMatching(tc.letters+`{0,8}`).Draw(rt, "text")
				require.Equal(rt, pattern.MatchString(text), tc.is(text), "%q", text)
			})
		})
	}
	for _, n := range []int{63, 64} {
		label := strings.Repeat("a", n)
		require.Equal(t, n <= 63, isName(label))
		require.Equal(t, n <= 63, isName(label+".example"))
		require.True(t, gateway.IsPart(label))
		require.False(t, gateway.IsPart(label+"xx"))
	}
}

func TestBodiesAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	const most = 3 * roomAtOnce
	for _, size := range []int64{0, 1, roomAtOnce, roomAtOnce + 1, most} {
		body := bytes.Repeat([]byte("x"), int(size))
		for _, said := range []int64{size, -1} {
			got, err := readAll(nil, &http.Request{Body: io.NopCloser(bytes.NewReader(body)), ContentLength: said}, most)
			require.NoError(t, err)
			require.Equal(t, body, append([]byte{}, got...))
		}
	}
	_, err := readAll(nil, &http.Request{Body: io.NopCloser(strings.NewReader("xx")), ContentLength: 3}, most)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}
