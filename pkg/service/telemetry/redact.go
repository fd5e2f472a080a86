package telemetry

import (
	"context"
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
		`|mk_[0-9A-Za-z]{20,}` + // an API key
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
	'a': {"api", "authorization"}, 'b': {"bearer", "basic"}, 'e': {"eyj"}, 'm': {"mk_"}, 'p': {"passw"}, 's': {"secret"}, 't': {"token"},
}

// suspicious tells whether there may be something to find. Letters beyond ASCII may stand for others.
func suspicious(text string) bool {
	for i := range len(text) {
		if text[i] == '@' || text[i] >= utf8.RuneSelf {
			return true
		}
		for _, mark := range marks[text[i]|0x20] {
			if i+len(mark) <= len(text) && text[i+1]|0x20 == mark[1] && strings.EqualFold(text[i:i+len(mark)], mark) {
				return true
			}
		}
	}
	return false
}

// redactor applies Redact to whatever is free text in a log line, the message included, before its handler sees it. What
// handlers offer for that themselves makes them slower with the time and the level, too.
type redactor struct{ slog.Handler }

// Handle implements slog.Handler.
func (h redactor) Handle(ctx context.Context, r slog.Record) error {
	if r.NumAttrs() == 0 {
		r.Message = Redact(r.Message)
		return h.Handler.Handle(ctx, r)
	}
	clean := slog.NewRecord(r.Time, r.Level, Redact(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redactAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h redactor) WithAttrs(attrs []slog.Attr) slog.Handler {
	return redactor{h.Handler.WithAttrs(redactAttrs(attrs))}
}

// WithGroup implements slog.Handler.
func (h redactor) WithGroup(name string) slog.Handler { return redactor{h.Handler.WithGroup(name)} }

func redactAttrs(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redactAttr(a)
	}
	return clean
}

func redactAttr(a slog.Attr) slog.Attr {
	switch a.Value = a.Value.Resolve(); a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Redact(a.Value.String()))
	case slog.KindAny:
		a.Value = slog.StringValue(Redact(fmt.Sprint(a.Value.Any())))
	case slog.KindGroup:
		a.Value = slog.GroupValue(redactAttrs(a.Value.Group())...)
	}
	return a
}
