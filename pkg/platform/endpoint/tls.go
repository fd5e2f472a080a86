package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// clientTLS is how a client proves who it is, and whom it believes. The files have to be good now, so that a mistake is told at
// the start.
func clientTLS(ca, cert, key string) (func(host string) (*tls.Config, error), error) {
	if (cert == "") != (key == "") {
		return nil, errors.New("cert and key: expected both of them, or neither")
	}
	load := func(host string) (*tls.Config, error) {
		c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
		if ca != "" {
			pem, err := os.ReadFile(ca) //nolint:gosec // the operator names it
			if err != nil {
				return nil, fmt.Errorf("ca: %w", err)
			}
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ca: there is no certificate in %s", ca)
			}
		}
		if cert != "" {
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				return nil, fmt.Errorf("cert and key: %w", err)
			}
			// Sent whatever authorities the server names: its log then says what is wrong with it.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		return c, nil
	}
	_, err := load("")
	if err != nil {
		return nil, err
	}
	return load, nil
}
