package service

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	// maxBatch is how many events Mixpanel takes at once.
	maxBatch = 2000
	// maxTopics and maxIgnored are far more than there will be.
	maxTopics  = 100
	maxIgnored = 1000
	// maxName is how many characters the name of an event has at Mixpanel.
	maxName = 255
)

var (
	validTopic  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)
	validName   = regexp.MustCompile(`^[!-~]{1,255}$`)
	validToken  = regexp.MustCompile(`^[A-Za-z0-9]{1,128}$`)
	validSecret = regexp.MustCompile(`^[!-~]{1,256}$`)
)

// Settings is what an operator can configure, under micro.mixpanel.
type Settings struct {
	// Token is the project's token. It lets events in by itself; where one of the two below is set, that does.
	Token string `json:"token"`
	// APISecret is the project's secret, which Mixpanel takes of old projects.
	APISecret string `json:"api_secret"`
	// ServiceAccount is an account of Mixpanel's for services, which needs the ProjectID.
	ServiceAccount ServiceAccount `json:"service_account"`
	// ProjectID is the project's number.
	ProjectID int64 `json:"project_id"`
	// APIBase is where Mixpanel is; it has other addresses for projects in the EU and in India.
	APIBase string `json:"api_base"`
	// Topics are what is forwarded.
	Topics []string `json:"topics"`
	// Ignore are the names of events that are not forwarded, such as customers_EventTypeTokenRefresh.
	Ignore []string `json:"ignore"`
	// BatchSize is how many events are sent at once at most.
	BatchSize int `json:"batch_size"`
}

// ServiceAccount is who the service is to Mixpanel.
type ServiceAccount struct {
	User   string `json:"user"`
	Secret string `json:"secret"`
}

// DefaultSettings is what holds where nothing is configured: no project.
func DefaultSettings() Settings {
	return Settings{
		APIBase:   "https://api.mixpanel.com",
		Topics:    []string{"customers", "requests", "usage", "stripe"},
		BatchSize: maxBatch,
	}
}

// Validate returns an error that names the key that is wrong and says what was expected of it.
func (s Settings) Validate() error {
	for _, secret := range []struct {
		key, value string
		valid      *regexp.Regexp
		expected   string
	}{
		{"token", s.Token, validToken, "1 to 128 letters and digits"},
		{"api_secret", s.APISecret, validSecret, "1 to 256 printable ASCII characters without spaces"},
		{"service_account.user", s.ServiceAccount.User, validSecret, "1 to 256 printable ASCII characters without spaces"},
		{"service_account.secret", s.ServiceAccount.Secret, validSecret, "1 to 256 printable ASCII characters without spaces"},
	} {
		if secret.value != "" && !secret.valid.MatchString(secret.value) {
			return fmt.Errorf("%s: expected %s", secret.key, secret.expected)
		}
	}
	account := s.ServiceAccount
	switch {
	case account.User == "" && account.Secret != "":
		return errors.New("service_account.user: expected the name that the secret belongs to")
	case account.User != "" && account.Secret == "":
		return errors.New("service_account.secret: expected the secret of the user")
	case strings.Contains(account.User, ":"):
		return errors.New("service_account.user: expected a name without a colon")
	case account.User != "" && s.APISecret != "":
		return errors.New("api_secret: expected nothing beside a service_account")
	case account.User != "" && s.ProjectID == 0:
		return errors.New("project_id: expected the number of the project that the service_account is for")
	case s.ProjectID < 0:
		return errors.New("project_id: expected a number above 0")
	}
	if !validBase(s.APIBase) {
		return errors.New("api_base: expected https:// and a host, such as https://api-eu.mixpanel.com (http:// on this machine only)")
	}
	if n := len(s.Topics); n == 0 || n > maxTopics {
		return fmt.Errorf("topics: expected 1 to %d topics", maxTopics)
	}
	for i, topic := range s.Topics {
		if !validTopic.MatchString(topic) || slices.Contains(s.Topics[:i], topic) {
			return fmt.Errorf("topics.%d: expected the name of a topic, 1 to 64 small letters, digits and hyphens, each once", i)
		}
	}
	if len(s.Ignore) > maxIgnored {
		return fmt.Errorf("ignore: expected at most %d names", maxIgnored)
	}
	for i, name := range s.Ignore {
		if !validName.MatchString(name) {
			return fmt.Errorf("ignore.%d: expected the name of an event, such as customers_EventTypeTokenRefresh", i)
		}
	}
	if s.BatchSize < 1 || s.BatchSize > maxBatch {
		return fmt.Errorf("batch_size: expected a number from 1 to %d", maxBatch)
	}
	return nil
}

// validBase takes what secrets can be sent to.
func validBase(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || err == nil && address.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && local
}

// Where events go, as Status tells it.
const (
	toMixpanel = "mixpanel"
	toStandIn  = "stand-in"
	toLog      = "log"
)

// destination is where events go.
type destination struct {
	kind           string
	base           string
	user, password string
	projectID      int64
}

// destination decides where events go: to Mixpanel where a project is configured, else to what stands in for it, else to the
// log.
func (s Settings) destination(standIn string) destination {
	d := destination{kind: toMixpanel, base: strings.TrimRight(s.APIBase, "/"), projectID: s.ProjectID}
	switch {
	case s.ServiceAccount.User != "":
		d.user, d.password = s.ServiceAccount.User, s.ServiceAccount.Secret
	case s.APISecret != "":
		d.user = s.APISecret
	case s.Token != "":
		d.user = s.Token
	case standIn != "":
		d = destination{kind: toStandIn, base: strings.TrimRight(standIn, "/"), user: toStandIn}
	default:
		d = destination{kind: toLog}
	}
	return d
}
