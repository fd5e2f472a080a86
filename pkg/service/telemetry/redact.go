package telemetry

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"unicode/utf8"
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
func Redact(text string) string {
	if !suspicious(text) {
		return text
	}
	return personal.ReplaceAllString(text, redacted)
}

// marks are what everything that personal finds has in it, by the first letter, in lower case. Almost no line has any of
// them, and looking for them costs a tenth of the expression.
var marks = [256][]string{
	'a': {"api", "authorization"}, 'b': {"bearer", "basic"}, 'e': {"eyj"}, 'p': {"passw"}, 's': {"secret"}, 't': {"token"},
}

// suspicious tells whether there may be something to find. Letters beyond ASCII may stand for others.
func suspicious(text string) bool {
	for i := range len(text) {
		if text[i] == '@' || text[i] >= utf8.RuneSelf {
			return true
		}
		for _, mark := range marks[text[i]|0x20] {
			if i+len(mark) <= len(text) && strings.EqualFold(text[i:i+len(mark)], mark) {
				return true
			}
		}
	}
	return false
}

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
