package endpoint

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/mtls/mtlstest"
)

var syntax = Syntax{
	Schemes: map[string]bool{"engine": false, "engines": true}, Path: true, Port: "1234", Example: "engine://user@host:1234/path",
}

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Endpoint{
		"engine://host":                   {Scheme: "engine", Hosts: []string{"host:1234"}},
		"engine://a:1,b,[::1]:2,[fe80::]": {Scheme: "engine", Hosts: []string{"a:1", "b:1234", "[::1]:2", "[fe80::]:1234"}},
		"engine://us%40er@host/path/on":   {Scheme: "engine", User: "us@er", Hosts: []string{"host:1234"}, Path: "path/on"},
	} {
		e, err := Parse(text, syntax)
		require.NoError(t, err, text)
		e.Password = nil
		require.Equal(t, want, e, text)
	}
	e, err := Parse("engines://host", syntax)
	require.NoError(t, err)
	require.NotNil(t, e.TLS)
}

func TestWhatIsWrong(t *testing.T) {
	t.Parallel()
	const expected = "expected an address such as engine://user@host:1234/path"
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for text, want := range map[string]string{
		"":                           expected,
		"host:1234":                  expected,
		"other://host":               expected,
		"engine://":                  expected,
		"engine://a,,b":              expected,
		"engine://%zz@host":          expected,
		"engine://host?%zz":          expected,
		"engine://u:secret@host":     "must not contain a password: give it with the variable that ends in _PASSWORD or _PASSWORD_FILE",
		"engine://host?tls=true":     `there is no parameter "tls": expected ca, cert or key`,
		"engine://host?cert=x":       "cert and key: expected both of them, or neither",
		"engine://host?cert=x&key=y": "cert and key: open x: no such file or directory",
		"engine://host?ca=/none":     "ca: open /none: no such file or directory",
		"engine://host?ca=" + empty:  "ca: there is no certificate in " + empty,
	} {
		_, err := Parse(text, syntax)
		require.EqualError(t, err, want, text)
	}
	_, err := Parse("engine://host/path", Syntax{Schemes: syntax.Schemes, Port: "1", Example: syntax.Example})
	require.EqualError(t, err, expected)
}

func TestRead(t *testing.T) { //nolint:paralleltest // the environment
	t.Setenv("MICRO_ENGINE_ADDRESS", "")
	_, err := Read("ENGINE", syntax)
	require.EqualError(t, err, "MICRO_ENGINE_ADDRESS is not set: expected an address such as engine://user@host:1234/path")
	t.Setenv("MICRO_ENGINE_ADDRESS", "x")
	_, err = Read("ENGINE", syntax)
	require.EqualError(t, err, "MICRO_ENGINE_ADDRESS: expected an address such as engine://user@host:1234/path")

	t.Setenv("MICRO_ENGINE_ADDRESS", "engine://host")
	t.Setenv("MICRO_ENGINE_PASSWORD", "secret")
	e, err := Read("ENGINE", syntax)
	require.NoError(t, err)
	word, err := e.Password()
	require.NoError(t, err)
	require.Equal(t, "secret", word)

	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("of the file\n"), 0o600))
	t.Setenv("MICRO_ENGINE_PASSWORD_FILE", file)
	word, err = e.Password()
	require.NoError(t, err)
	require.Equal(t, "of the file", word)
	t.Setenv("MICRO_ENGINE_PASSWORD_FILE", "/none")
	_, err = Read("ENGINE", syntax)
	require.EqualError(t, err, "MICRO_ENGINE_PASSWORD_FILE: open /none: no such file or directory")
}

func TestCertificatesAreReadEachTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := mtlstest.NewCA(t), mtlstest.NewCA(t)
	first.Issue(t, dir, time.Now().Add(time.Hour), "me")
	e, err := Parse("engine://host?ca="+dir+"/ca.pem&cert="+dir+"/cert.pem&key="+dir+"/key.pem", syntax)
	require.NoError(t, err)
	// shows returns what a connection shows now, and whom it believes.
	shows := func() (*x509.Certificate, *x509.CertPool) {
		config, err := e.TLS("host")
		require.NoError(t, err)
		require.Equal(t, "host", config.ServerName)
		pair, err := config.GetClientCertificate(nil)
		require.NoError(t, err)
		return pair.Leaf, config.RootCAs
	}
	_, firstRoots := shows()
	second.Issue(t, dir, time.Now().Add(time.Hour), "me")
	shown, roots := shows()
	_, err = shown.Verify(x509.VerifyOptions{Roots: firstRoots})
	require.Error(t, err)
	_, err = shown.Verify(x509.VerifyOptions{Roots: roots})
	require.NoError(t, err)
	require.NoError(t, os.Remove(dir+"/ca.pem"))
	_, err = e.TLS("host")
	require.ErrorContains(t, err, "ca: ")
}
