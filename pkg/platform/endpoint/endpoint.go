// Package endpoint reads where an engine of the platform profile is from the environment: the address of etcd from
// MICRO_ETCD_ADDRESS, its password from MICRO_ETCD_PASSWORD or from the file that MICRO_ETCD_PASSWORD_FILE names. What is
// wrong with it is an error of one sentence that names the variable and has no value in it that may be secret.
package endpoint

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
)

// Endpoint is where an engine is and how it is reached.
type Endpoint struct {
	// Variable is the name of the environment variable that it was read from, for errors.
	Variable string
	// Scheme is one of those that were expected.
	Scheme string
	// User is whom to log in as; empty for nobody.
	User string
	// Hosts are the servers, each as host:port; at least one.
	Hosts []string
	// Path is what follows them, without the slash before it.
	Path string
	// TLS is not nil when the connection is to be encrypted. It returns what a connection to a host is made with, from the files
	// as they are now, so that certificates and authorities can be replaced.
	TLS func(host string) (*tls.Config, error)
	// Password returns the password, empty for none. It is read each time, so that it can be replaced.
	Password func() (string, error)
}

// Syntax says what an address looks like.
type Syntax struct {
	// Schemes are those that are known, each with whether the connection is encrypted.
	Schemes map[string]bool
	// Path says that something may follow the hosts.
	Path bool
	// Port is what a host has that names none.
	Port string
	// Example is an address, for errors.
	Example string
}

// Read reads an endpoint of an engine, "ETCD" or "REDIS": from MICRO_<engine>_ADDRESS as
//
//	scheme://[user@]host[:port][,host[:port]...][/path][?ca=file&cert=file&key=file]
//
// Whoever gives ca, cert or key wants TLS; ca replaces the system's authorities.
func Read(engine string, syntax Syntax) (Endpoint, error) {
	variable := "MICRO_" + engine + "_ADDRESS"
	text := os.Getenv(variable)
	if text == "" {
		return Endpoint{}, fmt.Errorf("%s is not set: expected an address such as %s", variable, syntax.Example)
	}
	e, err := Parse(text, syntax)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%s: %w", variable, err)
	}
	e.Variable = variable
	e.Password = func() (string, error) { return password("MICRO_" + engine + "_PASSWORD") }
	if _, err := e.Password(); err != nil {
		return Endpoint{}, err
	}
	return e, nil
}

// Parse parses the text of an address; the endpoint has no password.
func Parse(text string, syntax Syntax) (Endpoint, error) {
	expected := fmt.Errorf("expected an address such as %s", syntax.Example)
	scheme, rest, ok := strings.Cut(text, "://")
	encrypted, known := syntax.Schemes[scheme]
	if !ok || !known {
		return Endpoint{}, expected
	}
	// net/url takes one host only.
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	e := Endpoint{Scheme: scheme, Path: path, Password: func() (string, error) { return "", nil }}
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		user, err := url.PathUnescape(hosts[:at])
		if err != nil {
			return Endpoint{}, expected
		}
		if strings.Contains(hosts[:at], ":") {
			return Endpoint{}, errors.New("must not contain a password: give it with the variable that ends in _PASSWORD or _PASSWORD_FILE")
		}
		e.User, hosts = user, hosts[at+1:]
	}
	for host := range strings.SplitSeq(hosts, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil { // without a port
			name, port = strings.Trim(host, "[]"), syntax.Port
		}
		if name == "" || port == "" || strings.ContainsAny(name, " \t@") {
			return Endpoint{}, expected
		}
		e.Hosts = append(e.Hosts, net.JoinHostPort(name, port))
	}
	if path != "" && !syntax.Path {
		return Endpoint{}, expected
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Endpoint{}, expected
	}
	for key := range values {
		if !slices.Contains([]string{"ca", "cert", "key"}, key) {
			return Endpoint{}, fmt.Errorf("there is no parameter %q: expected ca, cert or key", key)
		}
	}
	if encrypted || len(values) > 0 {
		if e.TLS, err = clientTLS(values.Get("ca"), values.Get("cert"), values.Get("key")); err != nil {
			return Endpoint{}, err
		}
	}
	return e, nil
}

// password reads a variable, or the file that the one named _FILE names.
func password(variable string) (string, error) {
	if file := os.Getenv(variable + "_FILE"); file != "" {
		text, err := os.ReadFile(file) //nolint:gosec // the operator names it
		if err != nil {
			return "", fmt.Errorf("%s_FILE: %w", variable, err)
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	}
	return os.Getenv(variable), nil
}
