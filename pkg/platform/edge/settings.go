package edge

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// ConfigKey is where in Micro's configuration the settings are.
const ConfigKey = "micro.api"

const (
	// maxBody is the largest message that services take.
	maxBody        = 32 << 20
	maxTimeout     = 300
	maxConnections = 65536
	maxListed      = 100 // origins, or hosts
	minJournal     = 16 << 20
	maxJournal     = 64 << 30
)

// Settings is what an operator can configure, under micro.api.
type Settings struct {
	CORS CORSSettings `json:"cors"`
	// Hosts are the names that the API is called by from outside. Loopback names and the address that a request came in at
	// are always good.
	Hosts []string `json:"hosts"`
	// MaxBodyBytes is the largest body of a request, in bytes.
	MaxBodyBytes int64 `json:"max_body_bytes"`
	// TimeoutSeconds is how long a service may take to answer.
	TimeoutSeconds int `json:"timeout_seconds"`
	// MaxConnections is how many connections are served at a time; others wait.
	MaxConnections int             `json:"max_connections"`
	Gateway        GatewaySettings `json:"gateway"`
}

// GatewaySettings is what can be configured of calls with an API key.
type GatewaySettings struct {
	// JournalBytes is how much of the disk may be taken by calls that usage has not been told of. When all of it is, no more
	// are let through.
	JournalBytes int64 `json:"journal_bytes"`
}

// CORSSettings says which web pages may call.
type CORSSettings struct {
	// Origins are those of pages of other sites that may call, exactly as browsers write them.
	Origins []string `json:"origins"`
}

// DefaultSettings is what holds where nothing is configured: no page of another site may call, and only loopback names are
// good.
func DefaultSettings() Settings {
	return Settings{MaxBodyBytes: 4 << 20, TimeoutSeconds: 30, MaxConnections: 4096,
		Gateway: GatewaySettings{JournalBytes: 256 << 20}}
}

// Validate returns an error that names the key that is wrong and says what was expected of it.
func (s Settings) Validate() error {
	if len(s.CORS.Origins) > maxListed {
		return fmt.Errorf("cors.origins: expected at most %d origins", maxListed)
	}
	for i, origin := range s.CORS.Origins {
		if err := checkOrigin(origin); err != nil {
			return fmt.Errorf("cors.origins[%d]: %w", i, err)
		}
	}
	if len(s.Hosts) > maxListed {
		return fmt.Errorf("hosts: expected at most %d hosts", maxListed)
	}
	for i, host := range s.Hosts {
		if !isHost(host) {
			return fmt.Errorf("hosts[%d]: expected the name or IP address of a host in small letters, "+
				"without a scheme and a port, such as api.example.com", i)
		}
	}
	if s.MaxBodyBytes < 1 || s.MaxBodyBytes > maxBody {
		return fmt.Errorf("max_body_bytes: expected a number from 1 to %d", maxBody)
	}
	if s.TimeoutSeconds < 1 || s.TimeoutSeconds > maxTimeout {
		return fmt.Errorf("timeout_seconds: expected a number from 1 to %d", maxTimeout)
	}
	if s.MaxConnections < 1 || s.MaxConnections > maxConnections {
		return fmt.Errorf("max_connections: expected a number from 1 to %d", maxConnections)
	}
	if s.Gateway.JournalBytes < minJournal || s.Gateway.JournalBytes > maxJournal {
		return fmt.Errorf("gateway.journal_bytes: expected a number from %d to %d", minJournal, maxJournal)
	}
	return nil
}

func (s Settings) timeout() time.Duration { return time.Duration(s.TimeoutSeconds) * time.Second }

var (
	errAnyOrigin = errors.New("expected origins one by one, not *: a page that may call has the token of whoever uses it, " +
		"so each site that is trusted with one is named")
	errOrigin = errors.New("expected an origin as browsers write it, in small letters and without a path or the scheme's own port, " +
		"such as https://app.example.com")
)

// usualPorts are those that a browser does not write.
var usualPorts = map[string]string{"http": "80", "https": "443"}

// checkOrigin takes only what a browser would send: anything else would never match, and nobody would know why.
func checkOrigin(origin string) error {
	if strings.Contains(origin, "*") {
		return errAnyOrigin
	}
	u, err := url.Parse(origin)
	if err != nil {
		return errOrigin
	}
	usual, ok := usualPorts[u.Scheme]
	authority := bracketed(u.Hostname())
	if port := u.Port(); port != "" {
		ok = ok && port != usual && isPort(port) && port[0] != '0'
		authority += ":" + port
	}
	if !ok || !isHost(u.Hostname()) || origin != u.Scheme+"://"+authority {
		return errOrigin
	}
	return nil
}

// bracketed is a host as it stands in a URL.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// isName tells whether a text is a DNS name in small letters; an international one in its ASCII form. Only the last label
// has no underscore.
func isName(name string) bool {
	for more := true; more; {
		var label string
		label, name, more = strings.Cut(name, ".")
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			switch c := label[i]; {
			case c >= 'a' && c <= 'z', isDigit(c), c == '-', c == '_' && more:
			default:
				return false
			}
		}
	}
	return true
}

// isHost tells whether a text is a name or an IP address as they are compared.
func isHost(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.String() == host
	}
	return len(host) <= 253 && isName(host)
}
