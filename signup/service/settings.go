package service

import (
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/m3o/backend/pkg/address"
)

const (
	minTTL          = time.Minute
	maxTTL          = 7 * 24 * time.Hour
	maxAttempts     = 100
	maxMailsPerHour = 100
	maxPerCaller    = 100_000 // mails in an hour
	maxDomains      = 10_000
	maxSubject      = 200  // characters
	maxLink         = 1024 // bytes
	maxCredential   = 256  // bytes
)

// The ways to talk to an SMTP server.
const (
	TLSNone     = "none"     // in clear, for a server on the same machine
	TLSStartTLS = "starttls" // encrypted from the second command on, or not at all
	TLSImplicit = "tls"      // encrypted from the first byte on
)

// Settings is what an operator can configure, under micro.signup.
type Settings struct {
	Email EmailSettings `json:"email"`
	// Templates are what can be changed of the mails, by their kinds.
	Templates map[string]TemplateSettings `json:"templates"`
	// AllowList are the domains, each with all below it, whose addresses can sign up; empty for all. BlockList are those
	// whose cannot, which wins.
	AllowList []string      `json:"allow_list"`
	BlockList []string      `json:"block_list"`
	Token     TokenSettings `json:"token"`
	// MailsPerHour is how many mails are sent to one address within an hour at most, welcomes not counted.
	MailsPerHour int `json:"mails_per_hour"`
	// MailsPerCallerPerHour is how many mails one caller may ask for within an hour, to whatever address: at first so many, then
	// one in each part of an hour. 0 is for no limit.
	MailsPerCallerPerHour int          `json:"mails_per_caller_per_hour"`
	Links                 LinkSettings `json:"links"`
}

// EmailSettings says how mails are sent.
type EmailSettings struct {
	// From is who they are from: an address, or a name and an address in angle brackets.
	From string `json:"from"`
	// SMTP is the server that they go to; nil for files in Outbox.
	SMTP *SMTPSettings `json:"smtp"`
	// Outbox is the absolute path of the directory where they are put as files, when there is no SMTP; empty for the one in
	// the state directory.
	Outbox string `json:"outbox"`
}

// SMTPSettings is an SMTP server.
type SMTPSettings struct {
	Host string `json:"host"`
	Port int    `json:"port"` // 0 for the usual one: 587, with TLSImplicit 465, with TLSNone 25
	// User and Password are what to log in with; empty for not at all.
	User     string `json:"user"`
	Password string `json:"password"`
	TLS      string `json:"tls"` // one of the ways above; empty for TLSStartTLS
}

// TemplateSettings is what can be changed of a mail.
type TemplateSettings struct {
	Subject string `json:"subject"`
}

// TokenSettings says how good tokens are.
type TokenSettings struct {
	// TTL is how long one is good.
	TTL time.Duration `json:"ttl"`
	// Attempts is after how many wrong ones none is good any more.
	Attempts int `json:"attempts"`
}

// LinkSettings are the pages that mails link to, each a URL to which the address and the token are added behind a #; empty
// for no link.
type LinkSettings struct {
	Signup string `json:"signup"`
	Reset  string `json:"reset"`
}

// DefaultSettings is what holds where nothing is configured.
func DefaultSettings() Settings {
	return Settings{Token: TokenSettings{TTL: time.Hour, Attempts: 5}, MailsPerHour: 5, MailsPerCallerPerHour: 100}
}

// Validate returns an error that names the key that is wrong and says what was expected of it.
func (s Settings) Validate() error {
	if err := s.Email.validate(); err != nil {
		return fmt.Errorf("email.%w", err)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Templates)) {
		if !slices.Contains(kinds, Kind(kind)) {
			return fmt.Errorf("templates.%q: expected one of %s", kind, kindNames())
		}
		if subject := s.Templates[kind].Subject; !isLine(subject) || utf8.RuneCountInString(subject) > maxSubject {
			return fmt.Errorf("templates.%s.subject: expected at most %d characters, no control characters", kind, maxSubject)
		}
	}
	for key, list := range map[string][]string{"allow_list": s.AllowList, "block_list": s.BlockList} {
		if len(list) > maxDomains {
			return fmt.Errorf("%s: expected at most %d domains", key, maxDomains)
		}
		for i, domain := range list {
			if _, ok := address.Domain(domain); !ok {
				return fmt.Errorf("%s[%d]: expected a domain name such as example.com", key, i)
			}
		}
	}
	switch {
	case s.Token.TTL < minTTL || s.Token.TTL > maxTTL:
		return fmt.Errorf("token.ttl: expected a duration from %s to %s", readable(minTTL), readable(maxTTL))
	case s.Token.Attempts < 1 || s.Token.Attempts > maxAttempts:
		return fmt.Errorf("token.attempts: expected a number from 1 to %d", maxAttempts)
	case s.MailsPerHour < 1 || s.MailsPerHour > maxMailsPerHour:
		return fmt.Errorf("mails_per_hour: expected a number from 1 to %d", maxMailsPerHour)
	case s.MailsPerCallerPerHour < 0 || s.MailsPerCallerPerHour > maxPerCaller:
		return fmt.Errorf("mails_per_caller_per_hour: expected a number from 0, for no limit, to %d", maxPerCaller)
	case !isLink(s.Links.Signup):
		return fmt.Errorf("links.signup: %s", aLink)
	case !isLink(s.Links.Reset):
		return fmt.Errorf("links.reset: %s", aLink)
	}
	return nil
}

// aLink is what is expected of a link.
const aLink = "expected an http or https URL without a #, of at most 1024 bytes"

func (e EmailSettings) validate() error {
	if e.From != "" {
		if from, err := mail.ParseAddress(e.From); err != nil || !isLine(e.From) || !isSender(from.Address) {
			return errors.New("from: expected an address, or a name and an address such as Micro <noreply@example.com>")
		}
	}
	if e.SMTP == nil {
		if e.Outbox != "" && !filepath.IsAbs(e.Outbox) {
			return errors.New("outbox: expected an absolute path")
		}
		return nil
	}
	switch {
	case e.Outbox != "":
		return errors.New("outbox: expected either this or smtp")
	case e.From == "":
		return errors.New("from: required with smtp")
	}
	if err := e.SMTP.validate(); err != nil {
		return fmt.Errorf("smtp.%w", err)
	}
	return nil
}

var validHost = regexp.MustCompile(`^[A-Za-z0-9:]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$`)

func (s SMTPSettings) validate() error {
	switch {
	case !validHost.MatchString(s.Host):
		return errors.New("host: expected the name or the IP address of a server")
	case s.Port < 0 || s.Port > 65535:
		return errors.New("port: expected a number from 1 to 65535")
	case s.TLS != "" && s.TLS != TLSNone && s.TLS != TLSStartTLS && s.TLS != TLSImplicit:
		return fmt.Errorf("tls: expected %s, %s or %s", TLSStartTLS, TLSImplicit, TLSNone)
	case len(s.User) > maxCredential || !isLine(s.User):
		return fmt.Errorf("user: expected at most %d bytes, no control characters", maxCredential)
	case len(s.Password) > maxCredential || !isLine(s.Password):
		return fmt.Errorf("password: expected at most %d bytes, no control characters", maxCredential)
	case (s.User == "") != (s.Password == ""):
		return errors.New("user: expected together with password")
	case s.User != "" && s.TLS == TLSNone:
		return fmt.Errorf("tls: expected %s or %s where there is a password", TLSStartTLS, TLSImplicit)
	}
	return nil
}

// isLine tells whether a text can stand in a header.
func isLine(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

// isSender tells whether mail can be sent from an address, which needs no answer.
func isSender(s string) bool {
	_, domain, _ := strings.Cut(s, "@")
	_, err := address.Parse("from", s)
	return err == nil || domain == "localhost"
}

func isLink(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxLink && isLine(s) && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" &&
		!strings.Contains(s, "#")
}

// domains are the lists in the form in which addresses have their domains.
type domains struct{ allowed, blocked map[string]bool }

func newDomains(s Settings) domains {
	set := func(list []string) map[string]bool {
		names := make(map[string]bool, len(list))
		for _, domain := range list {
			if ascii, ok := address.Domain(domain); ok {
				names[ascii] = true
			}
		}
		return names
	}
	return domains{allowed: set(s.AllowList), blocked: set(s.BlockList)}
}

// admit tells whether addresses of a domain can sign up.
func (d domains) admit(domain string) bool {
	return !within(domain, d.blocked) && (len(d.allowed) == 0 || within(domain, d.allowed))
}

// within tells whether a domain is one of the names, or below one.
func within(domain string, names map[string]bool) bool {
	for rest, ok := domain, true; ok; _, rest, ok = strings.Cut(rest, ".") {
		if names[rest] {
			return true
		}
	}
	return false
}
