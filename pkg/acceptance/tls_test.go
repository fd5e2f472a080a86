package acceptance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/story"
	"github.com/m3o/backend/pkg/platform/authority"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service/mtls"
	"github.com/m3o/backend/pkg/service/mtls/mtlstest"
)

// TestStoryWithTLS plays the story on a platform whose processes prove to each other who they are, while their certificates are
// replaced all the time.
func TestStoryWithTLS(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	p.args = []string{"--tls"}
	p.boot(t, services...)

	certificates := filepath.Join(p.State, "tls")
	a := authority.New(filepath.Join(p.State, "authority"), certificates)
	replace := func() {
		for _, name := range []string{"auth", "config", "proxy", "api", "runtime", "events"} {
			require.NoError(t, a.Issue(authority.Core, name))
		}
		for _, name := range services {
			require.NoError(t, a.Issue(authority.Service, name))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var replacing sync.WaitGroup
	replacing.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				replace()
			}
		}
	})
	err := story.Play(t.Context(), story.Config{Client: p.Client, Source: repository, Out: t.Output()})
	cancel()
	replacing.Wait()
	require.NoError(t, err)
	out, err := p.Run(t.Context(), "debug", "health", "customers")
	require.NoError(t, err, out)
	require.Regexp(t, `(?m)\sok$`, out, "a node of its own is called by its address")

	// Who has no certificate, or one of somebody else's, gets nothing anywhere.
	_, err = p.RPC("").JSON(t.Context(), "customers", "Debug.Health", "{}")
	require.Error(t, err)
	strangers := filepath.Join(t.TempDir(), "proxy")
	mtlstest.NewCA(t).Issue(t, strangers, time.Now().Add(time.Hour), "proxy")
	for _, server := range []string{"proxy", "registry", "broker", "config", "store", "auth", "events", "runtime"} {
		_, err = p.greet(t, server, "")
		require.ErrorContains(t, err, "certificate required")
		_, err = p.greet(t, server, strangers)
		require.ErrorContains(t, err, "unknown certificate authority")
		shown, err := p.greet(t, server, filepath.Join(certificates, "customers"))
		require.NoError(t, err)
		require.Equal(t, []string{server}, shown.DNSNames)
	}

	// The certificate that was made last is the one that is shown.
	before, err := p.greet(t, "auth", filepath.Join(certificates, state.Operator))
	require.NoError(t, err)
	replace()
	after, err := p.greet(t, "auth", filepath.Join(certificates, state.Operator))
	require.NoError(t, err)
	require.NotEqual(t, before.SerialNumber, after.SerialNumber)

	// Without the flag there is nothing of it.
	require.Zero(t, p.stop(t))
	p.args = nil
	require.True(t, p.start(t, "customers"))
	_, err = p.RPC("").JSON(t.Context(), "customers", "Debug.Health", "{}")
	require.NoError(t, err)
	answer, err := p.Call(t.Context(), "customers", "Customers.List", "{}")
	require.NoError(t, err)
	require.NotEmpty(t, answer["customers"], "what was there is there again")
}

// greet connects to a server with the certificate in a directory, or without one, until it begins to speak, and returns the
// certificate that it shows.
func (p *platform) greet(t *testing.T, server, dir string) (*x509.Certificate, error) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if dir != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, mtls.CertFile), filepath.Join(dir, mtls.KeyFile))
		require.NoError(t, err)
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	conn, err := tls.Dial("tcp", state.Addresses{Port: p.port}.Of(server), config)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing more is expected of it
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState().PeerCertificates[0], err
}
