// Package mtlstest makes authorities and certificates for tests, also such as nobody should have.
package mtlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/mtls"
)

// CA is an authority.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	root *CA // itself, unless another one has signed it
}

// NewCA makes one that has signed itself.
func NewCA(t testing.TB) *CA {
	t.Helper()
	return newCA(t, nil)
}

// Between makes one that the authority has signed, and that nobody believes for its own sake.
func (ca *CA) Between(t testing.TB) *CA {
	t.Helper()
	return newCA(t, ca)
}

func newCA(t testing.TB, parent *CA) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	name := pkix.Name{CommonName: "test " + rand.Text()[:6]}
	template := &x509.Certificate{
		Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	by := &CA{cert: template, key: key}
	if parent != nil {
		by = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	require.NoError(t, err)
	made := &CA{key: key, root: parent}
	if made.cert, err = x509.ParseCertificate(der); parent == nil {
		made.root = made
	}
	require.NoError(t, err)
	return made
}

// PEM is the certificate of the authority.
func (ca *CA) PEM() []byte { return encode("CERTIFICATE", ca.cert.Raw) }

// Issue writes a certificate for names, which may be IP addresses, and its key into a directory, with the authority itself as the
// one to believe, or the one that has signed it. It is good until end; an hour at most.
func (ca *CA) Issue(t testing.TB, dir string, end time.Time, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	chain := encode("CERTIFICATE", der)
	if ca.root != ca {
		chain = append(chain, ca.PEM()...)
	}
	Believe(t, dir, ca.root)
	Write(t, filepath.Join(dir, mtls.KeyFile), encode("PRIVATE KEY", pkcs8))
	Write(t, filepath.Join(dir, mtls.CertFile), chain)
}

// Believe makes these the authorities to believe in a directory.
func Believe(t testing.TB, dir string, all ...*CA) {
	t.Helper()
	var pems []byte
	for _, ca := range all {
		pems = append(pems, ca.PEM()...)
	}
	Write(t, filepath.Join(dir, mtls.CAFile), pems)
}

// Write replaces a file, as those do who replace certificates.
func Write(t testing.TB, file string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(file+".new", content, 0o600))
	require.NoError(t, os.Rename(file+".new", file))
}

func encode(kind string, content []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
}
