package telemetry

import (
	"fmt"
	"log/slog"
	"regexp"
)

// personal finds what must not be in a log: tokens, secrets that say what they are, and addresses. An address is
// anything around an @, so that what looks a little different is found too, the password in a URL included.
var personal = regexp.MustCompile(
	`eyJ[\w-]+\.[\w-]+\.[\w-]*` +
		`|(?i:\b(?:bearer|basic)\s+[\w.~+/=-]{8,})` +
		`|(?i:(?:password|passwd|secret|token|api[_-]?key|authorization)["']?\s*(?:=|:\s*["']|=>)\s*["']?[^\s"',;&]+)` +
		`|[^\s"'<>()\[\],;:=/\\|@]*@[^\s"'<>()\[\],;:=/\\|@]+`,
)

// redacted stands for what was found.
const redacted = "[redacted]"

// Redact returns text without what looks like a token, a secret or an email address. It is the last line of defence:
// nothing of the kind should get as far, but the cause of an error may be a sentence of somebody else's code.
func Redact(text string) string { return personal.ReplaceAllString(text, redacted) }

// redactAttr applies Redact to whatever is free text in a log line, the message included.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Redact(a.Value.String()))
	case slog.KindAny:
		if _, ok := a.Value.Any().(slog.Level); !ok {
			a.Value = slog.StringValue(Redact(fmt.Sprint(a.Value.Any())))
		}
	}
	return a
}
