package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/signup/service"
)

func changed(change func(*service.Settings)) service.Settings {
	s := service.DefaultSettings()
	change(&s)
	return s
}

// server is an SMTP server that is configured well, changed.
func server(change func(*service.SMTPSettings)) service.Settings {
	return changed(func(s *service.Settings) {
		s.Email.From = "Micro <noreply@example.com>"
		s.Email.SMTP = &service.SMTPSettings{Host: "smtp.example.com", Port: 587, User: "u", Password: "p", TLS: "starttls"}
		change(s.Email.SMTP)
	})
}

func TestValidSettings(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]service.Settings{
		"default":    service.DefaultSettings(),
		"a server":   server(func(*service.SMTPSettings) {}),
		"no login":   server(func(s *service.SMTPSettings) { s.User, s.Password, s.TLS, s.Port = "", "", "none", 0 }),
		"IPv6":       server(func(s *service.SMTPSettings) { s.Host = "::1" }),
		"implicit":   server(func(s *service.SMTPSettings) { s.TLS = "tls" }),
		"no mode":    server(func(s *service.SMTPSettings) { s.TLS = "" }),
		"outbox":     changed(func(s *service.Settings) { s.Email.Outbox = "/var/mail/out" }),
		"an address": changed(func(s *service.Settings) { s.Email.From = "noreply@localhost" }),
		"templates": changed(func(s *service.Settings) {
			s.Templates = map[string]service.TemplateSettings{"welcome": {Subject: strings.Repeat("é", 200)}, "verify": {}}
		}),
		"lists": changed(func(s *service.Settings) {
			s.AllowList, s.BlockList = []string{"bücher.example"}, []string{"Example.com"}
		}),
		"limits":       changed(func(s *service.Settings) { s.Token.TTL, s.Token.Attempts, s.MailsPerHour = 7*24*time.Hour, 100, 100 }),
		"no limit":     changed(func(s *service.Settings) { s.MailsPerCallerPerHour = 0 }),
		"a high limit": changed(func(s *service.Settings) { s.MailsPerCallerPerHour = 100_000 }),
		"links": changed(func(s *service.Settings) {
			s.Links = service.LinkSettings{Signup: "https://example.com/signup?lang=en", Reset: "http://localhost:3000"}
		}),
	} {
		require.NoError(t, s.Validate(), name)
	}
}

// A wrong setting is told by its key, and what it was is not repeated.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	const (
		aFrom    = "email.from: expected an address, or a name and an address such as Micro <noreply@example.com>"
		aHost    = "email.smtp.host: expected the name or the IP address of a server"
		aPort    = "email.smtp.port: expected a number from 1 to 65535"
		aTTL     = "token.ttl: expected a duration from 1 minute to 7 days"
		attempts = "token.attempts: expected a number from 1 to 100"
		perCall  = "mails_per_caller_per_hour: expected a number from 0, for no limit, to 100000"
		perHour  = "mails_per_hour: expected a number from 1 to 100"
		aLink    = ": expected an http or https URL without a #, of at most 1024 bytes"
		aSubject = "templates.verify.subject: expected at most 200 characters, no control characters"
	)
	from := func(from string) service.Settings { return changed(func(s *service.Settings) { s.Email.From = from }) }
	subject := func(text string) service.Settings {
		return changed(func(s *service.Settings) {
			s.Templates = map[string]service.TemplateSettings{"verify": {Subject: text}}
		})
	}
	link := func(link string) service.Settings {
		return changed(func(s *service.Settings) { s.Links.Signup = link })
	}
	for name, tc := range map[string]struct {
		settings service.Settings
		want     string
	}{
		"from, no address":    {from("s3cr3t"), aFrom},
		"from, two":           {from("a@example.com, b@example.com"), aFrom},
		"from, header":        {from("a@example.com\r\nBcc: b@example.com"), aFrom},
		"from, in a name":     {from("\"a\r\nBcc: b@example.com\" <a@example.com>"), aFrom},
		"from, quoted":        {from(`"a b"@example.com`), aFrom},
		"from, missing":       {changed(func(s *service.Settings) { s.Email.SMTP = &service.SMTPSettings{Host: "h"} }), "email.from: required with smtp"},
		"outbox, relative":    {changed(func(s *service.Settings) { s.Email.Outbox = "mail" }), "email.outbox: expected an absolute path"},
		"outbox and smtp":     {changed(func(s *service.Settings) { s.Email.Outbox, s.Email.SMTP = "/a", &service.SMTPSettings{} }), "email.outbox: expected either this or smtp"},
		"host, missing":       {server(func(s *service.SMTPSettings) { s.Host = "" }), aHost},
		"host, with a port":   {server(func(s *service.SMTPSettings) { s.Host = "a:25/" }), aHost},
		"host, unix":          {server(func(s *service.SMTPSettings) { s.Host = "unix:///s" }), aHost},
		"port, negative":      {server(func(s *service.SMTPSettings) { s.Port = -1 }), aPort},
		"port, too large":     {server(func(s *service.SMTPSettings) { s.Port = 65536 }), aPort},
		"tls":                 {server(func(s *service.SMTPSettings) { s.TLS = "ssl" }), "email.smtp.tls: expected starttls, tls or none"},
		"password in clear":   {server(func(s *service.SMTPSettings) { s.TLS = "none" }), "email.smtp.tls: expected starttls or tls where there is a password"},
		"user alone":          {server(func(s *service.SMTPSettings) { s.Password = "" }), "email.smtp.user: expected together with password"},
		"password alone":      {server(func(s *service.SMTPSettings) { s.User = "" }), "email.smtp.user: expected together with password"},
		"user, line":          {server(func(s *service.SMTPSettings) { s.User = "a\nb" }), "email.smtp.user: expected at most 256 bytes, no control characters"},
		"password, long":      {server(func(s *service.SMTPSettings) { s.Password = strings.Repeat("p", 257) }), "email.smtp.password: expected at most 256 bytes, no control characters"},
		"template":            {changed(func(s *service.Settings) { s.Templates = map[string]service.TemplateSettings{"hello\n": {}} }), `templates."hello\n": expected one of verify, exists, reset, incomplete, unknown, unusable, welcome, change, taken, changing`},
		"subject, header":     {subject("a\r\nBcc: b@example.com"), aSubject},
		"subject, long":       {subject(strings.Repeat("é", 201)), aSubject},
		"subject, not UTF-8":  {subject("\xff"), aSubject},
		"allow_list":          {changed(func(s *service.Settings) { s.AllowList = []string{"a.com", "*.com"} }), "allow_list[1]: expected a domain name such as example.com"},
		"block_list, address": {changed(func(s *service.Settings) { s.BlockList = []string{"a@b.com"} }), "block_list[0]: expected a domain name such as example.com"},
		"block_list, long":    {changed(func(s *service.Settings) { s.BlockList = make([]string, 10_001) }), "block_list: expected at most 10000 domains"},
		"ttl, short":          {changed(func(s *service.Settings) { s.Token.TTL = time.Second }), aTTL},
		"ttl, long":           {changed(func(s *service.Settings) { s.Token.TTL = 169 * time.Hour }), aTTL},
		"attempts, none":      {changed(func(s *service.Settings) { s.Token.Attempts = 0 }), attempts},
		"attempts, many":      {changed(func(s *service.Settings) { s.Token.Attempts = 101 }), attempts},
		"mails, none":         {changed(func(s *service.Settings) { s.MailsPerHour = 0 }), perHour},
		"mails, many":         {changed(func(s *service.Settings) { s.MailsPerHour = 101 }), perHour},
		"caller, negative":    {changed(func(s *service.Settings) { s.MailsPerCallerPerHour = -1 }), perCall},
		"caller, many":        {changed(func(s *service.Settings) { s.MailsPerCallerPerHour = 100_001 }), perCall},
		"link, no URL":        {link("example.com"), "links.signup" + aLink},
		"link, script":        {link("javascript:alert(1)"), "links.signup" + aLink},
		"link, fragment":      {link("https://example.com/#a"), "links.signup" + aLink},
		"link, no host":       {link("https:///a"), "links.signup" + aLink},
		"link, line":          {link("https://example.com/\n"), "links.signup" + aLink},
		"link, long":          {link("https://example.com/" + strings.Repeat("a", 1024)), "links.signup" + aLink},
		"reset link":          {changed(func(s *service.Settings) { s.Links.Reset = "/reset" }), "links.reset" + aLink},
	} {
		require.EqualError(t, tc.settings.Validate(), tc.want, name)
	}
}
