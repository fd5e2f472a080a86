package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	stderrors "errors"
	"fmt"
	"net"
	"net/textproto"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/signup/service"
)

const (
	// sendFor is how long a mail may take, from the connection to the server's last answer: a caller waits for it.
	sendFor = 8 * time.Second
	// The usual ports.
	portClear    = 25
	portStartTLS = 587
	portTLS      = 465
)

// SMTPConfig is what NewSMTP needs.
type SMTPConfig struct {
	// Settings is the server. Its TLS is one of the service's constants.
	Settings service.SMTPSettings
	// From is as in service.EmailSettings.
	From string
	// RootCAs are whose certificates are trusted; the system's when nil.
	RootCAs *x509.CertPool
}

// SMTP sends mails to an SMTP server, on a connection for each. The server has a mail when Send returns nil. If the process
// dies, or the connection breaks, before the server's answer has come, nobody knows, and the mail is sent again: with the same
// Message-ID, by which mail programs show it once.
type SMTP struct {
	sender
	client *gomail.Client
}

var _ service.Mailer = (*SMTP)(nil)

// NewSMTP returns the client of a server, to which it does not connect yet.
func NewSMTP(cfg SMTPConfig) (*SMTP, error) {
	s, err := newSender(cfg.From)
	if err != nil {
		return nil, err
	}
	encryption := &tls.Config{ServerName: cfg.Settings.Host, MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs}
	port, policy, dial := portStartTLS, gomail.TLSMandatory, dialer(nil)
	switch cfg.Settings.TLS {
	case service.TLSImplicit:
		// The library sees that the connection is encrypted, and that nothing else is offered on it.
		port, policy, dial = portTLS, gomail.TLSOpportunistic, dialer(encryption)
	case service.TLSNone:
		port, policy = portClear, gomail.NoTLS
	}
	if cfg.Settings.Port != 0 {
		port = cfg.Settings.Port
	}
	options := []gomail.Option{
		gomail.WithPort(port), gomail.WithTLSPolicy(policy), gomail.WithTLSConfig(encryption), gomail.WithDialContextFunc(dial),
		gomail.WithTimeout(sendFor), gomail.WithoutNoop(),
	}
	if cfg.Settings.User != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(cfg.Settings.User), gomail.WithPassword(cfg.Settings.Password))
	}
	client, err := gomail.NewClient(cfg.Settings.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("set up SMTP: %w", err)
	}
	return &SMTP{s, client}, nil
}

// Send implements service.Mailer.
func (s *SMTP) Send(ctx context.Context, m service.Mail) error {
	msg, err := s.message(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendFor)
	defer cancel()
	line := new(line)
	defer context.AfterFunc(ctx, line.hangUp)()
	defer line.hangUp()
	connection, err := s.client.DialToSMTPClientWithContext(context.WithValue(ctx, lineKey{}, line))
	if err != nil {
		return describe("connecting", err)
	}
	if err := s.client.SendWithSMTPClient(connection, msg); err != nil {
		return describe("sending", err)
	}
	_ = connection.Quit() // it has the mail, whatever it says to the farewell
	return nil
}

// line is the connection of one Send, which the library neither closes in every case nor holds to one deadline.
type line struct {
	mu         sync.Mutex
	connection net.Conn
	ended      bool
}

type lineKey struct{}

func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.connection != nil {
		_ = l.connection.Close()
	}
}

func (l *line) use(connection net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connection = connection
	if l.ended {
		_ = connection.Close()
	}
}

// dialer returns what connects to a server, with TLS from the first byte on if that is configured.
func dialer(encryption *tls.Config) gomail.DialContextFunc {
	return func(ctx context.Context, network, server string) (net.Conn, error) {
		connection, err := new(net.Dialer).DialContext(ctx, network, server)
		if err != nil {
			return nil, err
		}
		if l, ok := ctx.Value(lineKey{}).(*line); ok {
			l.use(connection)
		}
		if encryption == nil {
			return connection, nil
		}
		encrypted := tls.Client(connection, encryption)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, err // hung up by Send
		}
		return encrypted, nil
	}
}

// describe says what has happened without the words of the server and the library, which repeat the recipient and perhaps
// the user.
func describe(doing string, err error) error {
	if e, ok := stderrors.AsType[*gomail.SendError](err); ok && e.ErrorCode() != 0 {
		if e.Reason == gomail.ErrSMTPRcptTo && e.ErrorCode()/100 == 5 {
			return errors.Invalid("", "the mail server refuses the recipient (%d)", e.ErrorCode())
		}
		return fmt.Errorf("the mail server answers %d to what was sent (%s)", e.ErrorCode(), e.Reason)
	}
	if e, ok := stderrors.AsType[*textproto.Error](err); ok {
		return fmt.Errorf("the mail server answers %d while %s", e.Code, doing)
	}
	if e, ok := stderrors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the mail server's certificate is not trusted: %w", e.Err)
	}
	if e, ok := stderrors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("the mail server cannot be reached while %s: %w", doing, e)
	}
	return fmt.Errorf("the mail server does not do as expected while %s (%T)", doing, err)
}
