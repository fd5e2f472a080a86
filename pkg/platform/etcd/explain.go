package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// diagnosis is how long it may take to find out why etcd does not answer.
const diagnosis = time.Second

// explain makes an error of etcd one sentence that names what has to be changed.
func (c Config) explain(ctx context.Context, err error) error {
	err = rpctypes.Error(err)
	for _, e := range []struct {
		err      error
		sentence string
	}{
		{rpctypes.ErrAuthFailed, c.passwordVariable() + ": etcd refuses the user of " + c.variable() + " or this password"},
		{rpctypes.ErrUserEmpty, c.variable() + ": etcd wants a user, and there is none before the hosts"},
		{rpctypes.ErrPermissionDenied, c.variable() + ": the user may not read and write below " + c.root() + " in etcd"},
	} {
		if errors.Is(err, e.err) {
			return errors.New(e.sentence)
		}
	}
	if !unreachable(err) {
		return fmt.Errorf("etcd: %w", err)
	}
	if reason := c.diagnose(ctx); reason != nil {
		return reason
	}
	return c.silent()
}

// silent is what is said of an etcd that does not answer when there is no time to find out why.
func (c Config) silent() error {
	return fmt.Errorf("%s: etcd does not answer at %s", c.variable(), strings.Join(c.Endpoint.Hosts, ", "))
}

// unreachable tells whether an error says that etcd was not asked, or has not answered.
func unreachable(err error) bool {
	code := codeOf(err)
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled
}

// codeOf is the code of an error of etcd or of gRPC.
func codeOf(err error) codes.Code {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return e.Code()
	}
	return status.Code(err)
}

// diagnose connects to the servers by hand, as what gRPC tells is neither typed nor readable. It returns nil when one of them
// can be connected to.
func (c Config) diagnose(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnosis)
	defer cancel()
	reasons := make(chan error, len(c.Endpoint.Hosts))
	for _, host := range c.Endpoint.Hosts {
		go func() { reasons <- c.try(ctx, host) }()
	}
	var reason error
	for range c.Endpoint.Hosts {
		err := <-reasons
		if err == nil {
			return nil
		}
		reason = err
	}
	return reason
}

// try connects to a server as gRPC does, and reads the first bytes of its greeting.
func (c Config) try(ctx context.Context, host string) error {
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("%s: etcd does not answer at %s: %s", c.variable(), host, short(err))
	}
	defer plain.Close() //nolint:errcheck // nothing more is expected of it
	if deadline, ok := ctx.Deadline(); ok {
		if err := plain.SetDeadline(deadline); err != nil {
			return err
		}
	}
	conn := plain
	if c.Endpoint.TLS != nil {
		name, _, _ := net.SplitHostPort(host)
		config, err := c.Endpoint.TLS(name)
		if err != nil {
			return fmt.Errorf("%s: %w", c.variable(), err)
		}
		config.NextProtos = []string{"h2"}
		conn = tls.Client(plain, config)
	}
	// What every client of HTTP/2 begins with. A server refuses a client's certificate, or the lack of one, when it is read from.
	_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	greeting := make([]byte, 9)
	if err == nil {
		_, err = io.ReadFull(conn, greeting)
	}
	const settings = 4 // the type of the frame that a server of HTTP/2 begins with
	switch {
	case c.Endpoint.TLS != nil && err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: there is no TLS with etcd at %s: %s: see ca, cert and key", c.variable(), host, short(err))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: etcd does not answer at %s, though it takes connections", c.variable(), host)
	case err != nil || greeting[3] != settings:
		return fmt.Errorf("%s: what answers at %s does not do so as etcd without TLS: etcds:// and ca, cert and key are for TLS", c.variable(), host)
	}
	return nil
}

// short is the reason at the end of a chain of errors, without the addresses in between.
func short(err error) string {
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return record.Msg
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return unknown.Error()
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
