package mail_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/signup/mail"
	"github.com/m3o/backend/signup/service"
)

// mailServer is an SMTP server that keeps what it gets, and refuses what the test says.
type mailServer struct {
	address *net.TCPAddr
	roots   *x509.CertPool
	// The errors that it answers with instead.
	auth, from, rcpt, data, quit error

	mu    sync.Mutex
	got   []received
	users []string
}

type received struct{ from, to, body string }

// serve starts a server; one with TLS from the first byte on if that is wanted, else with STARTTLS.
func serve(t *testing.T, implicit bool, change func(*mailServer)) *mailServer {
	t.Helper()
	// For its certificate, which is for 127.0.0.1.
	web := httptest.NewTLSServer(nil)
	t.Cleanup(web.Close)
	m := &mailServer{roots: x509.NewCertPool()}
	m.roots.AddCert(web.Certificate())
	if change != nil {
		change(m)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{server: m}, nil }))
	server.TLSConfig = &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}
	server.ErrorLog = discard{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m.address = listener.Addr().(*net.TCPAddr)
	if implicit {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		<-done
	})
	return m
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

type session struct {
	server *mailServer
	got    received
}

func (s *session) Reset()        { s.got = received{} }
func (s *session) Logout() error { return s.server.quit }

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.users = append(s.server.users, user+":"+password)
		return s.server.auth
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.got.from = from
	return s.server.from
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.got.to = to
	return s.server.rcpt
}

func (s *session) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil || s.server.data != nil {
		return errors.Join(err, s.server.data)
	}
	s.got.body = string(body)
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.got = append(s.server.got, s.got)
	return nil
}

func (m *mailServer) mails() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.got
}

func (m *mailServer) client(t *testing.T, mode string) *mail.SMTP {
	t.Helper()
	settings := service.SMTPSettings{Host: m.address.IP.String(), Port: m.address.Port, TLS: mode}
	if mode != service.TLSNone {
		settings.User, settings.Password = "us3r", "s3cr3t"
	}
	c, err := mail.NewSMTP(mail.SMTPConfig{Settings: settings, From: from, RootCAs: m.roots})
	require.NoError(t, err)
	return c
}

func TestSMTP(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", service.TLSStartTLS, service.TLSImplicit, service.TLSNone} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			server := serve(t, mode == service.TLSImplicit, nil)
			c := server.client(t, mode)
			second := hello
			second.To = "joe@example.com"
			require.NoError(t, c.Send(t.Context(), hello))
			require.NoError(t, c.Send(t.Context(), second))
			got := server.mails()
			require.Len(t, got, 2)
			require.Equal(t, "noreply@mail.example.com", got[0].from)
			require.Equal(t, hello.To, got[0].to)
			require.Contains(t, got[0].body, "Message-ID: <"+hello.ID+"@mail.example.com>")
			require.Contains(t, got[0].body, "Gr=C3=BC=C3=9Fe.")
			require.Equal(t, second.To, got[1].to)
			require.NotContains(t, got[1].body, hello.To)
			if mode != service.TLSNone {
				require.Equal(t, []string{"us3r:s3cr3t", "us3r:s3cr3t"}, server.users)
			} else {
				require.Empty(t, server.users)
			}
		})
	}
}

// The mail is the same file that the outbox has.
func TestSMTPSendsWhatTheOutboxHas(t *testing.T) {
	t.Parallel()
	server := serve(t, false, nil)
	require.NoError(t, server.client(t, "").Send(t.Context(), hello))
	o, dir := setup(t)
	require.NoError(t, o.Send(t.Context(), hello))
	require.Equal(t, read(t, dir, hello.ID), strings.TrimSuffix(server.mails()[0].body, "\r\n")+"\r\n")
}

func TestSMTPAtOnce(t *testing.T) {
	t.Parallel()
	server := serve(t, false, nil)
	c := server.client(t, "")
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for range cap(errs) {
		wg.Go(func() { errs <- c.Send(t.Context(), hello) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, server.mails(), 20)
}

// An error says what has happened, whether another attempt is worth it, and nothing that the server or the library says of
// who writes to whom.
func TestSMTPFails(t *testing.T) {
	t.Parallel()
	refusal := func(code int) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "no o'hara@example.com for us3r"}
	}
	for name, tc := range map[string]struct {
		change    func(*mailServer)
		want      string
		permanent bool
	}{
		"login":             {func(m *mailServer) { m.auth = refusal(535) }, "the mail server answers 535 while connecting", false},
		"sender":            {func(m *mailServer) { m.from = refusal(553) }, "the mail server answers 553 to what was sent (sending SMTP MAIL FROM command)", false},
		"recipient, later":  {func(m *mailServer) { m.rcpt = refusal(451) }, "the mail server answers 451 to what was sent (sending SMTP RCPT TO command)", false},
		"recipient, never":  {func(m *mailServer) { m.rcpt = refusal(550) }, "the mail server refuses the recipient (550)", true},
		"content":           {func(m *mailServer) { m.data = refusal(554) }, "the mail server answers 554 to what was sent", false},
		"certificate":       {func(m *mailServer) { m.roots = x509.NewCertPool() }, "the mail server's certificate is not trusted: x509: certificate signed by unknown authority", false},
		"the farewell only": {func(m *mailServer) { m.quit = refusal(421) }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, false, tc.change)
			err := server.client(t, "").Send(t.Context(), hello)
			if tc.want == "" {
				require.NoError(t, err)
				require.Len(t, server.mails(), 1)
				return
			}
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, tc.permanent, kinds.Permanent(err))
			for _, secret := range []string{"hara", "us3r", "s3cr3t", "noreply"} {
				require.NotContains(t, err.Error(), secret)
			}
			require.Empty(t, server.mails())
		})
	}
}

// Encryption that is configured is not given up when the server does not offer it.
func TestSMTPIsNotDowngraded(t *testing.T) {
	t.Parallel()
	server := serve(t, false, nil)
	plain := serve(t, false, nil)
	// The one speaks in clear first, the other has no TLS to offer at all.
	err := server.client(t, service.TLSImplicit).Send(t.Context(), hello)
	require.ErrorContains(t, err, "the mail server does not do as expected while connecting")
	require.Empty(t, server.mails())
	bare := relay(t, plain.address.String())
	plain.address = bare
	err = plain.client(t, "").Send(t.Context(), hello)
	require.Error(t, err)
	require.Empty(t, plain.mails())
	require.Empty(t, plain.users)
}

// relay passes on what a server says, but for that it has STARTTLS.
func relay(t *testing.T, to string) *net.TCPAddr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	go func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to)
			if err != nil {
				_ = here.Close()
				return
			}
			go func() {
				_, _ = io.Copy(there, here)
				_ = there.Close()
			}()
			go func() {
				buffer := make([]byte, 64<<10)
				for {
					n, err := there.Read(buffer)
					if err != nil {
						_ = here.Close()
						return
					}
					_, _ = here.Write([]byte(strings.ReplaceAll(string(buffer[:n]), "STARTTLS", "SOMEELSE")))
				}
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr)
}

func TestSMTPIsAway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &mailServer{address: listener.Addr().(*net.TCPAddr)}
	// It accepts connections and says nothing: the caller's deadline counts.
	for _, mode := range []string{service.TLSNone, service.TLSImplicit} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		err = server.client(t, mode).Send(ctx, hello)
		cancel()
		require.Error(t, err)
		require.Less(t, time.Since(began), 5*time.Second)
		require.False(t, kinds.Permanent(err))
	}
	require.NoError(t, listener.Close())
	err = server.client(t, service.TLSNone).Send(t.Context(), hello)
	require.ErrorContains(t, err, "the mail server cannot be reached while connecting: ")
	require.ErrorContains(t, err, "connection refused")
}

func TestSMTPRefuses(t *testing.T) {
	t.Parallel()
	_, err := mail.NewSMTP(mail.SMTPConfig{Settings: service.SMTPSettings{Host: "localhost"}, From: "jane"})
	require.EqualError(t, err, "the sender is no address")
	c, err := mail.NewSMTP(mail.SMTPConfig{Settings: service.SMTPSettings{Host: "localhost"}, From: from})
	require.NoError(t, err)
	m := hello
	m.To = "jane"
	require.EqualError(t, c.Send(t.Context(), m), "the recipient is no address")
}
