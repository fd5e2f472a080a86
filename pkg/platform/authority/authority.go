package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service/mtls"
)

const (
	// Life is how long a certificate is good.
	Life = 24 * time.Hour
	// CALife is how long an authority is believed.
	CALife = 365 * 24 * time.Hour
	// Overlap is how long an authority is believed before it signs.
	Overlap = time.Hour
	// slack is how much earlier things begin than they are made, because clocks are set back at times.
	slack = time.Minute
	// every is how often Keep looks for what has to be renewed.
	every = time.Minute
)

// Kind is what a process is.
type Kind string

// The kinds of processes.
const (
	Core    Kind = "core"
	Service Kind = "service"
	Sold    Kind = "sold"
)

// Authority makes certificates. It is safe for concurrent use, also by several processes.
type Authority struct {
	// keys has the authorities, certificates a directory for each process.
	keys, certificates string
	now                func() time.Time
}

// New returns the authority that keeps its keys in one directory, and what it issues below another one. Nothing has to be there.
func New(keys, certificates string) *Authority {
	return &Authority{keys: keys, certificates: certificates, now: time.Now}
}

// Of returns the authority of this process's state directory, if the certificates at these addresses are ours to make; else nil.
func Of(addresses state.Addresses) *Authority {
	if filepath.Dir(addresses.TLS) != state.OwnCertificates() {
		return nil
	}
	return New(state.Authority(), state.OwnCertificates())
}

// Begin withdraws all that was issued, for a platform that starts: its processes get certificates of their own.
func (a *Authority) Begin() error {
	return a.locked(func() error { return os.RemoveAll(a.certificates) })
}

// Issue makes a new key for a process and a certificate of it, in a directory that has the process's name.
func (a *Authority) Issue(kind Kind, name string) error {
	return a.locked(func() error {
		key, err := newKey()
		if err != nil {
			return err
		}
		dir := filepath.Join(a.certificates, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := writeKey(filepath.Join(dir, mtls.KeyFile), key); err != nil {
			return err
		}
		known, err := a.authorities()
		if err != nil {
			return err
		}
		return a.write(dir, known, template(kind, name), key)
	})
}

// Withdraw removes what was issued to a process.
func (a *Authority) Withdraw(name string) error {
	return a.locked(func() error { return os.RemoveAll(filepath.Join(a.certificates, name)) })
}

// Renew renews whatever is past half of its life.
func (a *Authority) Renew() error {
	return a.locked(func() error {
		known, err := a.authorities()
		if err != nil {
			return err
		}
		dirs, err := os.ReadDir(a.certificates)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = nil
		for _, d := range dirs {
			// One that cannot be renewed must not keep the others from it.
			if e := a.renew(filepath.Join(a.certificates, d.Name()), known); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", d.Name(), e))
			}
		}
		return err
	})
}

// renew renews what is in a directory: the authorities to believe if there are others, and the certificate if it is time.
func (a *Authority) renew(dir string, known []signer) error {
	if err := writeChanged(filepath.Join(dir, mtls.CAFile), bundle(known)); err != nil {
		return err
	}
	cert, err := readCertificate(filepath.Join(dir, mtls.CertFile))
	if err != nil {
		return err
	}
	if a.now().Before(half(cert)) {
		return nil
	}
	key, err := readKey(filepath.Join(dir, mtls.KeyFile))
	if err != nil {
		return err
	}
	return a.write(dir, known, &x509.Certificate{DNSNames: cert.DNSNames, URIs: cert.URIs, ExtKeyUsage: cert.ExtKeyUsage}, key)
}

// Keep renews what has to be until ctx ends.
func (a *Authority) Keep(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := a.Renew(); err != nil {
				logger.Errorf("Certificates cannot be renewed, it is tried again in a minute: %v", err)
			}
		}
	}
}

// locked does something while nobody else does, in this process or another one.
func (a *Authority) locked(do func() error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make certificates: %w", err)
		}
	}()
	if err := os.MkdirAll(a.keys, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(a.keys, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing is written to it; the lock ends with it
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return do()
}
