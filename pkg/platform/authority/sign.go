package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/m3o/backend/pkg/service/mtls"
)

// signer is an authority with its key.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// half is when half of a certificate's life is over.
func half(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 2)
}

// authorities returns those that are to be believed now, the oldest first, after it has made one if there is none that is young
// enough, and forgotten those that have ended.
func (a *Authority) authorities() ([]signer, error) {
	files, err := filepath.Glob(filepath.Join(a.keys, "*.pem"))
	if err != nil {
		return nil, err
	}
	var known []signer
	for _, file := range files {
		s, err := readSigner(file)
		if err != nil {
			return nil, err
		}
		if a.now().After(s.cert.NotAfter) {
			if err := os.Remove(file); err != nil {
				return nil, err
			}
			continue
		}
		known = append(known, s)
	}
	slices.SortFunc(known, func(a, b signer) int { return a.cert.NotBefore.Compare(b.cert.NotBefore) })
	if n := len(known); n == 0 || a.now().After(half(known[n-1].cert)) {
		s, err := a.newSigner()
		if err != nil {
			return nil, err
		}
		known = append(known, s)
	}
	return known, nil
}

// newSigner makes an authority, and keeps it.
func (a *Authority) newSigner() (signer, error) {
	key, err := newKey()
	if err != nil {
		return signer{}, err
	}
	now := a.now()
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Micro platform " + now.UTC().Format("2006-01-02")},
		NotBefore: now.Add(-slack), NotAfter: now.Add(CALife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "Micro platform " + now.UTC().Format("2006-01-02")}}, key.Public(), key)
	if err != nil {
		return signer{}, err
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return signer{}, err
	}
	file := filepath.Join(a.keys, now.UTC().Format("20060102T150405.000000000")+".pem")
	if err := writeFile(file, append(encodeCertificate(cert), encoded...)); err != nil {
		return signer{}, err
	}
	return readSigner(file)
}

// signing is the authority that signs now: the newest one that everybody has had the time to hear of.
func (a *Authority) signing(known []signer) signer {
	for _, s := range slices.Backward(known) {
		if a.now().Sub(s.cert.NotBefore) >= Overlap {
			return s
		}
	}
	return known[0]
}

// template is what the certificate of a process says.
func template(kind Kind, name string) *x509.Certificate {
	return &x509.Certificate{
		DNSNames:    []string{name},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "micro", Path: "/" + string(kind) + "/" + name}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// write signs a certificate and puts it into a directory, behind the authorities that are to be believed.
func (a *Authority) write(dir string, known []signer, cert *x509.Certificate, key *ecdsa.PrivateKey) error {
	by := a.signing(known)
	cert.NotBefore, cert.NotAfter = a.now().Add(-slack), a.now().Add(Life)
	cert.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, cert, by.cert, key.Public(), by.key)
	if err != nil {
		return err
	}
	if err := writeChanged(filepath.Join(dir, mtls.CAFile), bundle(known)); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, mtls.CertFile), encodeCertificate(der))
}

// bundle is the file of the authorities to believe.
func bundle(known []signer) []byte {
	var all []byte
	for _, s := range known {
		all = append(all, encodeCertificate(s.cert.Raw)...)
	}
	return all
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	encoded, err := encodeKey(key)
	if err != nil {
		return err
	}
	return writeFile(file, encoded)
}

// readSigner reads an authority: its certificate and its key in one file.
func readSigner(file string) (signer, error) {
	cert, err := readCertificate(file)
	if err != nil {
		return signer{}, err
	}
	key, err := readKey(file)
	return signer{cert, key}, err
}

func readCertificate(file string) (*x509.Certificate, error) {
	der, err := readBlock(file, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func readKey(file string) (*ecdsa.PrivateKey, error) {
	der, err := readBlock(file, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: expected a key for ECDSA", file)
	}
	return k, nil
}

// readBlock returns the first block of a type in a file.
func readBlock(file, kind string) ([]byte, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return nil, errors.New(file + ": there is no " + kind + " in it: remove it and start the server again")
		}
		if b.Type == kind {
			return b.Bytes, nil
		}
	}
}

// writeChanged writes a file unless that is in it.
func writeChanged(file string, b []byte) error {
	if before, err := os.ReadFile(file); err == nil && bytes.Equal(before, b) {
		return nil
	}
	return writeFile(file, b)
}

// writeFile replaces a file, for its owner alone, by one that is either wholly there or not at all.
func writeFile(file string, b []byte) error {
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
