package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/micro/micro/v3/service/client"
	grpcclient "github.com/micro/micro/v3/service/client/grpc"
	"github.com/micro/micro/v3/service/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Server is what a server takes connections with.
func (s *Source) Server() credentials.TransportCredentials { return &handshakes{source: s} }

// Client is what connections to a service are made with.
func (s *Source) Client(service string) credentials.TransportCredentials {
	return &handshakes{source: s, nameAt: func(string) string { return service }}
}

// Micro makes Micro's own client, which knows addresses and no services, connect with certificates. The service at an address
// is what nameAt says; "" is anyone of the platform.
func (s *Source) Micro(nameAt func(address string) string) client.Option {
	dial := grpcclient.DialOptions(grpc.WithTransportCredentials(&handshakes{source: s, nameAt: nameAt}))
	return func(o *client.Options) { dial(&o.CallOptions) }
}

// handshakes are credentials.TransportCredentials that make each connection with what the files say by then.
type handshakes struct {
	source *Source
	// nameAt is the service at an address, for a client.
	nameAt func(address string) string
}

// ClientHandshake implements credentials.TransportCredentials.
func (h *handshakes) ClientHandshake(ctx context.Context, address string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	m := h.source.material()
	name := h.nameAt(address)
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: name,
		// Sent whatever the server says it believes, so that its log names what is wrong with it.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &m.pair, nil },
		InsecureSkipVerify:   true, //nolint:gosec // VerifyConnection does it all: Go's own cannot do without a name
		VerifyConnection: func(state tls.ConnectionState) error {
			shown := state.PeerCertificates
			if err := m.verify(shown[0], name, h.source.now(), x509.ExtKeyUsageServerAuth, shown[1:]...); err != nil {
				return fmt.Errorf("what answers at %s does not prove to be the service %s: %w", conn.RemoteAddr(), name, err)
			}
			return nil
		},
	}).ClientHandshake(ctx, address, conn)
}

// ServerHandshake implements credentials.TransportCredentials.
func (h *handshakes) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	m := h.source.material()
	secured, info, err := credentials.NewTLS(&tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{m.pair},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              m.roots,
		Time:                   h.source.now,
		SessionTicketsDisabled: true, // a certificate is shown for each connection
	}).ServerHandshake(conn)
	// Who hangs up at once only wanted to know whether somebody listens.
	if err != nil && !errors.Is(err, io.EOF) && h.source.refused.allows(h.source.now()) {
		logger.Warnf("A connection from %s was refused: %v", conn.RemoteAddr(), err)
	}
	return secured, info, err
}

// Info implements credentials.TransportCredentials.
func (h *handshakes) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (h *handshakes) Clone() credentials.TransportCredentials { return h }

// OverrideServerName implements credentials.TransportCredentials. The name is that of a service, and no host's.
func (h *handshakes) OverrideServerName(string) error { return nil }
