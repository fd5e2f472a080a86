package service

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
	"net/url"
	"strings"
	"text/template"
	"time"
)

// Kind is a sort of mail.
type Kind string

// The kinds of mails.
const (
	KindVerify     Kind = "verify"     // with a token, to sign up
	KindExists     Kind = "exists"     // to somebody who wants to sign up, and has
	KindReset      Kind = "reset"      // with a token, to choose another password
	KindIncomplete Kind = "incomplete" // to somebody who wants another password, and has none yet
	KindUnknown    Kind = "unknown"    // to somebody who wants another password, and has no account
	KindUnusable   Kind = "unusable"   // to somebody who is banned or deleted
	KindWelcome    Kind = "welcome"    // to somebody who has signed up
	KindChange     Kind = "change"     // with a token of another service, to the new address of a customer
	KindTaken      Kind = "taken"      // to an address that is to be a customer's, and is another one's
	KindChanging   Kind = "changing"   // to the old address of a customer
)

var kinds = []Kind{KindVerify, KindExists, KindReset, KindIncomplete, KindUnknown, KindUnusable, KindWelcome, KindChange, KindTaken, KindChanging}

// subjects are those of the mails, where nothing else is configured.
var subjects = map[Kind]string{
	KindVerify:     "Confirm your address",
	KindExists:     "You have an account already",
	KindReset:      "Choose another password",
	KindIncomplete: "Your signup is not complete",
	KindUnknown:    "There is no account with this address",
	KindUnusable:   "This address cannot be used",
	KindWelcome:    "Welcome",
	KindChange:     "Confirm your new address",
	KindTaken:      "This address is in use already",
	KindChanging:   "Your address is about to change",
}

// hasToken tells whether a mail of the kind has a token that is made here.
func (k Kind) hasToken() bool { return k == KindVerify || k == KindReset }

func kindNames() string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

//go:embed templates
var embedded embed.FS

var (
	texts  = template.Must(template.ParseFS(embedded, "templates/*.txt"))
	layout = htmltemplate.Must(htmltemplate.ParseFS(embedded, "templates/layout.html"))
)

// content is what differs between two mails of a kind.
type content struct{ To, Token, Link, GoodFor string }

// paragraph is one of a mail, in HTML.
type paragraph struct {
	Text string
	// IsToken and IsLink tell that it is nothing else.
	IsToken, IsLink bool
}

// render writes a mail of a kind. The HTML has the same paragraphs as the text.
func (s *Signup) render(kind Kind, c content) (Mail, error) {
	if kind.hasToken() {
		c.GoodFor = readable(s.settings.Token.TTL)
		c.Link = s.settings.Links.of(kind, c.To, c.Token)
	}
	var text, html bytes.Buffer
	if err := texts.ExecuteTemplate(&text, string(kind)+".txt", c); err != nil {
		return Mail{}, fmt.Errorf("write a mail: %w", err)
	}
	subject := subjects[kind]
	if other := s.settings.Templates[string(kind)].Subject; other != "" {
		subject = other
	}
	var paragraphs []paragraph
	for p := range strings.SplitSeq(strings.TrimSpace(text.String()), "\n\n") {
		p = strings.TrimSpace(p)
		paragraphs = append(paragraphs, paragraph{Text: p, IsToken: p != "" && p == c.Token, IsLink: p != "" && p == c.Link})
	}
	err := layout.Execute(&html, struct {
		Subject    string
		Paragraphs []paragraph
	}{subject, paragraphs})
	if err != nil {
		return Mail{}, fmt.Errorf("write a mail: %w", err)
	}
	return Mail{Subject: subject, Text: text.String(), HTML: html.String()}, nil
}

// of is the link of a mail; empty for none. The token is in the part of the URL that browsers do not send, so that it is in
// no log and no Referer.
func (l LinkSettings) of(kind Kind, to, token string) string {
	base := l.Signup
	if kind == KindReset {
		base = l.Reset
	}
	if base == "" {
		return ""
	}
	return base + "#" + url.Values{"email": {to}, "token": {token}}.Encode()
}

// readable says how long something is, as people do.
func readable(d time.Duration) string {
	for _, unit := range []struct {
		name string
		is   time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if d < unit.is || d%unit.is != 0 {
			continue
		}
		if n := d / unit.is; n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
		return "1 " + unit.name
	}
	return d.String()
}
