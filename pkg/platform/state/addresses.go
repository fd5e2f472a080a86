package state

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Host is the only interface that the embedded profile listens on.
const Host = "127.0.0.1"

// DefaultPort is the first port of the block a platform listens on when no other is chosen: the one of the HTTP API.
const DefaultPort = 8080

// The servers of a platform in the order of their ports: the first two are what people and the command line talk to.
var servers = []string{"api", "proxy", "registry", "broker", "config", "store", "auth", "events", "runtime"}

// standIns are what may stand in for services of others on this machine. Their ports follow those of the servers.
var standIns = []string{"stripe", "mixpanel"}

// ports is how many ports a block has, whether anything stands in or not.
var ports = len(servers) + len(standIns)

// Addresses is where the servers of one platform listen: a block of consecutive ports on the loopback interface, or each on
// a host of its own.
type Addresses struct {
	// Port is the first port of the block.
	Port int `json:"port"`
	// TLS is the directory of each process's certificates, with a %s for the name of the process if they share a machine;
	// empty if connections are not encrypted. See package mtls.
	TLS string `json:"tls,omitempty"`
	// each has a %s for the name of a server where every server has a host of its own; else it is empty.
	each string
}

// Of returns the address of a server ("api", "proxy", "registry", ...); empty for a name that has none.
func (a Addresses) Of(server string) string {
	i := slices.Index(servers, server)
	switch {
	case i < 0:
		return ""
	case a.each != "":
		return strings.Replace(a.each, "%s", server, 1)
	}
	return net.JoinHostPort(Host, strconv.Itoa(a.Port+i))
}

// StandIn returns the address of what stands in for a service of others ("stripe", "mixpanel"); empty for a name that has
// none.
func (a Addresses) StandIn(name string) string {
	if i := slices.Index(standIns, name); i >= 0 {
		return net.JoinHostPort(Host, strconv.Itoa(a.Port+len(servers)+i))
	}
	return ""
}

// All returns the addresses of all servers by name.
func (a Addresses) All() map[string]string {
	all := make(map[string]string, len(servers))
	for _, s := range servers {
		all[s] = a.Of(s)
	}
	return all
}

// Operator is the name of the process whose certificates the command line uses, and `micro server` itself. Nobody calls it, and no
// service can have it.
const Operator = "_operator"

// Certificates is the directory of a process's certificates; empty if connections are not encrypted.
func (a Addresses) Certificates(name string) string { return strings.ReplaceAll(a.TLS, "%s", name) }

// ServerAt returns the name of the server at an address; empty for one where none is.
func (a Addresses) ServerAt(address string) string {
	for _, s := range servers {
		if a.Of(s) == address {
			return s
		}
	}
	return ""
}

// IsServer tells whether a name is that of a server of the platform, so that no service can have it.
func IsServer(name string) bool { return slices.Contains(servers, name) }

// validate tells whether there can be such a block.
func (a Addresses) validate() error {
	if highest := 65535 - ports + 1; a.Port < 1 || a.Port > highest {
		return fmt.Errorf("port %d: expected a number from 1 to %d, as %d ports are used from there",
			a.Port, highest, ports)
	}
	return nil
}

// free tries each port of a server and returns an error that names the first one that cannot be had. Those of stand-ins are
// tried by whoever starts these.
func (a Addresses) free() error {
	for _, s := range servers {
		l, err := net.Listen("tcp", a.Of(s))
		if err != nil {
			return fmt.Errorf("%s is taken (the platform's %s listens there): choose another block of %d ports",
				a.Of(s), s, ports)
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("close %s: %w", a.Of(s), err)
		}
	}
	return nil
}

func addressFile() string { return filepath.Join(Dir(), "addresses.json") }

// SaveAddresses writes a to the state directory, where the command line finds the platform.
func SaveAddresses(a Addresses) error {
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode addresses: %w", err)
	}
	if err := writeFile(addressFile(), string(b)); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	return nil
}

// ServersEnv is the environment variable that says where the servers are when they do not share a machine: an address with
// a %s in the place of a server's name, such as %s.micro.svc:8000.
const ServersEnv = "MICRO_SERVERS"

// TLSEnv is the environment variable that has processes of the platform prove to each other who they are. It names the directory
// of their certificates, with a %s for the name of the process where there are several on a machine.
const TLSEnv = "MICRO_TLS"

// LoadAddresses returns what MICRO_SERVERS and MICRO_TLS say, or reads what SaveAddresses wrote; the default block where no platform has
// been started yet.
func LoadAddresses() (Addresses, error) {
	if each := os.Getenv(ServersEnv); each != "" {
		host, port, err := net.SplitHostPort(each)
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || bad != nil || n == 0 || strings.Count(host, "%s") != 1 {
			return Addresses{}, fmt.Errorf("%s: expected an address with %%s for the name of a server, such as %%s.micro.svc:8000", ServersEnv)
		}
		return Addresses{Port: DefaultPort, TLS: os.Getenv(TLSEnv), each: each}, nil
	}
	b, err := os.ReadFile(addressFile())
	if errors.Is(err, fs.ErrNotExist) {
		return Addresses{Port: DefaultPort, TLS: os.Getenv(TLSEnv)}, nil
	}
	if err != nil {
		return Addresses{}, fmt.Errorf("read addresses: %w", err)
	}
	var a Addresses
	if json.Unmarshal(b, &a) != nil || a.validate() != nil {
		return Addresses{}, fmt.Errorf("%w: %s (start the server again to write it anew)", errDamaged, addressFile())
	}
	a.TLS = cmp.Or(os.Getenv(TLSEnv), a.TLS)
	return a, nil
}

var errDamaged = errors.New("the file that says where the platform listens is damaged")

// PortEnv is the environment variable that names the first port of the block.
const PortEnv = "MICRO_PORT"

// Claim decides where a server that starts now listens: at port if it is not 0, else at the value of MICRO_PORT, else
// where the last server with this state did. The block must be free; a platform that was just killed is given a moment to
// leave it. The directory of certificates is the value of MICRO_TLS, or with ownTLS one of the state's, where the server has to
// make them. The decision is saved for everybody who looks for the server.
func Claim(port int, ownTLS bool) (Addresses, error) {
	if os.Getenv(ServersEnv) != "" {
		return Addresses{}, fmt.Errorf("%s is for servers that are started one by one: a platform of one machine listens on %s", ServersEnv, Host)
	}
	a, err := LoadAddresses()
	if errors.Is(err, errDamaged) {
		a = Addresses{Port: DefaultPort}
	} else if err != nil {
		return Addresses{}, err
	}
	if v := os.Getenv(PortEnv); port == 0 && v != "" {
		if port, err = strconv.Atoi(v); err != nil {
			return Addresses{}, fmt.Errorf("%s: expected a port number", PortEnv)
		}
	}
	if port != 0 {
		a.Port = port
	}
	if a.TLS, err = claimTLS(ownTLS); err != nil {
		return Addresses{}, err
	}
	if err := a.validate(); err != nil {
		return Addresses{}, err
	}
	for patience := time.Now().Add(leaveTime); ; time.Sleep(20 * time.Millisecond) {
		if err = a.free(); err == nil {
			return a, SaveAddresses(a)
		}
		if time.Now().After(patience) {
			return Addresses{}, err
		}
	}
}

func claimTLS(own bool) (string, error) {
	given := os.Getenv(TLSEnv)
	switch {
	case own && given != "":
		return "", fmt.Errorf("%s: either this, or --tls for certificates that the server makes itself", TLSEnv)
	case own:
		return filepath.Join(OwnCertificates(), "%s"), nil
	case given == "":
		return "", nil
	case strings.Count(given, "%s") != 1:
		return "", fmt.Errorf("%s: expected a directory with %%s for the name of each process, such as /run/tls/%%s", TLSEnv)
	}
	return filepath.Abs(given)
}

// leaveTime is how long a block of ports may be in use before that is an error.
const leaveTime = 2 * time.Second
