package telemetry

import (
	"testing"

	"pgregory.net/rapid"
)

// Nothing that the expression finds is passed over without being looked for.
func TestSuspicious(t *testing.T) {
	t.Parallel()
	parts := rapid.SampledFrom([]string{
		"eyJ", "a.b.c", "Bearer ", "BASIC ", "abcdefgh", "passwd", "PassWord", "=", ": ", `"`, "secret", "toKen", "api-key", "apikey", "api_key",
		"Authorization", "mk_", "0123456789abcdefghij", "@", "x", " ", "e", "b", "\u017f", "\u212a",
	})
	rapid.Check(t, func(r *rapid.T) {
		text := ""
		for range rapid.IntRange(0, 8).Draw(r, "parts") {
			text += parts.Draw(r, "part")
		}
		if personal.MatchString(text) && !suspicious(text) {
			r.Fatalf("%q is not suspicious", text)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	const line = `request method="POST" path="/customers/Read" status=200 bytes=81 duration_ms=0.014 remote=127.0.0.1 id=XMCBGNREXBJX2IWLLLXXEKKR6`
	for b.Loop() {
		Redact(line)
	}
}
