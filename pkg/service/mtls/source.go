package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"
)

// The files of a directory.
const (
	CertFile = "cert.pem"
	KeyFile  = "key.pem"
	CAFile   = "ca.pem"
)

// ConnectionAge is after how long a server ends a connection, once the calls on it are answered, so that nobody lives for long on
// a certificate that has been replaced. It costs a handshake in each such time.
const ConnectionAge = time.Hour

// Source is who a process is to others and whom it believes. It is safe for concurrent use.
type Source struct {
	dir, name string
	now       func() time.Time
	refused   seldom
	expired   seldom

	mu      sync.Mutex
	seen    version
	current *material
}

// material is what the files of a directory say.
type material struct {
	pair  tls.Certificate
	roots *x509.CertPool
}

// Open reads a directory. The certificate must have name as a DNS name, as callers are going to ask for it; a process that
// nobody calls has no name, "". An error says in one sentence what is wrong with which file.
func Open(dir, name string) (*Source, error) {
	s := &Source{dir: dir, name: name, now: time.Now}
	seen, err := look(dir)
	if err != nil {
		return nil, err
	}
	m, err := read(dir, name, s.now())
	if err != nil {
		return nil, err
	}
	if end := m.pair.Leaf.NotAfter; s.now().After(end) {
		return nil, fmt.Errorf("%s expired at %s: replace it", filepath.Join(dir, CertFile), end.UTC().Format(time.RFC3339))
	}
	s.seen, s.current = seen, m
	return s, nil
}

// material returns what the files say, or what they said when they last fitted together.
func (s *Source) material() *material {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, err := look(s.dir)
	if err == nil && (seen != s.seen || seen.isFresh(s.now())) {
		var m *material
		if m, err = read(s.dir, s.name, s.now()); err == nil {
			s.current = m
		}
	}
	if err != nil && seen != s.seen {
		logger.Errorf("Certificates cannot be read, the former ones are used: %v", err)
	}
	s.seen = seen
	if end := s.current.pair.Leaf.NotAfter; s.now().After(end) && s.expired.allows(s.now()) {
		logger.Errorf("%s expired at %s, and nobody believes it: replace it",
			filepath.Join(s.dir, CertFile), end.UTC().Format(time.RFC3339))
	}
	return s.current
}

// read reads a directory, and makes sure that what is in it fits together, but for the end of the certificate.
func read(dir, name string, now time.Time) (*material, error) {
	ca, cert, key := filepath.Join(dir, CAFile), filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile)
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	m := &material{roots: x509.NewCertPool()}
	if !m.roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no certificate in %s", ca)
	}
	if m.pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
		return nil, fmt.Errorf("%s with %s: %w", cert, key, err)
	}
	leaf := m.pair.Leaf
	if name != "" && leaf.VerifyHostname(name) != nil {
		return nil, fmt.Errorf("%s is not for %s: expected this among its DNS names", cert, name)
	}
	if now.After(leaf.NotAfter) {
		now = leaf.NotAfter
	}
	err = m.verify(leaf, "", now, x509.ExtKeyUsageClientAuth)
	if err == nil && name != "" {
		err = m.verify(leaf, name, now, x509.ExtKeyUsageServerAuth)
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not go with %s: %w", cert, ca, err)
	}
	return m, nil
}

// verify checks a certificate that has been shown, with those in between, or our own. A name of "" is any.
func (m *material) verify(leaf *x509.Certificate, name string, at time.Time, usage x509.ExtKeyUsage, between ...*x509.Certificate) error {
	options := x509.VerifyOptions{
		Roots: m.roots, DNSName: name, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}, Intermediates: x509.NewCertPool(),
	}
	if leaf == m.pair.Leaf {
		for _, der := range m.pair.Certificate[1:] {
			if c, err := x509.ParseCertificate(der); err == nil {
				options.Intermediates.AddCert(c)
			}
		}
	}
	for _, c := range between {
		options.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(options)
	return err
}

// version tells one state of the files from another.
type version [3]struct {
	modified time.Time
	size     int64
}

// look finds out which version there is.
func look(dir string) (v version, err error) {
	for i, file := range []string{CertFile, KeyFile, CAFile} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			return version{}, err
		}
		v[i].modified, v[i].size = info.ModTime(), info.Size()
	}
	return v, nil
}

// isFresh tells whether the files may change once more without that being seen, as file systems count time in steps.
func (v version) isFresh(now time.Time) bool {
	for _, file := range v {
		if now.Sub(file.modified) < 2*time.Second {
			return true
		}
	}
	return false
}

// seldom says yes every ten seconds at most, so that nobody fills a log from outside.
type seldom struct {
	mu   sync.Mutex
	last time.Time
}

func (s *seldom) allows(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) < 10*time.Second {
		return false
	}
	s.last = now
	return true
}
