package kubernetes

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Cluster is where the API of Kubernetes is, and who asks it.
type Cluster struct {
	// Address is that of its server, as https://10.0.0.1:443.
	Address string
	// Authority is a file with the certificates that the server's is checked with.
	Authority string
	// Token returns the token of a ServiceAccount. It is asked each time, as Kubernetes replaces it every hour.
	Token func() (string, error)
	// Namespace is the one that everything is in.
	Namespace string
}

// accountDir is where a pod finds who it is.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// ClusterOfPod returns the cluster that this process is a pod of, and a namespace of it: the pod's own when it is empty.
func ClusterOfPod(namespace string) (Cluster, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" {
		return Cluster{}, errors.New("KUBERNETES_SERVICE_HOST is not set: this is for a pod of Kubernetes")
	}
	if namespace == "" {
		own, err := os.ReadFile(filepath.Join(accountDir, "namespace"))
		if err != nil {
			return Cluster{}, fmt.Errorf("find the pod's namespace: %w", err)
		}
		namespace = strings.TrimSpace(string(own))
	}
	return Cluster{
		Address: "https://" + net.JoinHostPort(host, cmp.Or(port, "443")), Authority: filepath.Join(accountDir, "ca.crt"),
		Token: TokenFile(filepath.Join(accountDir, "token")), Namespace: namespace,
	}, nil
}

// TokenFile reads a token from a file.
func TokenFile(name string) func() (string, error) {
	return func() (string, error) {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read the token of the ServiceAccount: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
}

const (
	// requestTimeout bounds a request but those for logs, which end with their context.
	requestTimeout = 30 * time.Second
	// maxAnswer bounds an answer, in bytes: a thousand Deployments fit.
	maxAnswer = 64 << 20
	// manager is whom Kubernetes knows to have set what apply sets.
	manager = "micro"
)

// client asks the API of Kubernetes. It is safe for concurrent use.
type client struct {
	cluster Cluster
	http    *http.Client
}

func newClient(cluster Cluster) (*client, error) {
	if cluster.Address == "" || cluster.Token == nil || cluster.Namespace == "" {
		return nil, errors.New("kubernetes: an address, a token and a namespace are needed")
	}
	authority, err := os.ReadFile(cluster.Authority)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of the cluster: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("read the certificates of the cluster: there is none in %s", cluster.Authority)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	transport.Proxy = nil // the cluster is never behind one
	return &client{cluster: cluster, http: &http.Client{Transport: transport}}, nil
}

// close ends connections that are kept open.
func (c *client) close() { c.http.CloseIdleConnections() }

// refusal is what Kubernetes says when it does not do what it was asked.
type refusal struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Error implements error.
func (r *refusal) Error() string {
	return "kubernetes: " + cmp.Or(r.Message, r.Reason, http.StatusText(r.Code))
}

// isReason tells whether Kubernetes has refused something for a reason, such as "NotFound" or "AlreadyExists".
func isReason(err error, reason string) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.Reason == reason
}

// object is what is sent: a map that becomes JSON. Kubernetes refuses a field that it does not know.
type object = map[string]any

// path is where the objects of a kind are, or the one of a name.
func (c *client) path(k kind, name ...string) string {
	parts := append([]string{k.group, "namespaces", c.cluster.Namespace, k.plural}, name...)
	return "/" + strings.Join(parts, "/")
}

// kind is a kind of object.
type kind struct{ group, version, name, plural string }

var (
	secrets     = kind{"api/v1", "v1", "Secret", "secrets"}
	services    = kind{"api/v1", "v1", "Service", "services"}
	pods        = kind{"api/v1", "v1", "Pod", "pods"}
	deployments = kind{"apis/apps/v1", "apps/v1", "Deployment", "deployments"}
)

// create makes an object that there is not; a refusal with the reason AlreadyExists when there is.
func (c *client) create(ctx context.Context, k kind, o object) error {
	return c.do(ctx, http.MethodPost, c.path(k)+"?fieldManager="+manager+"&fieldValidation=Strict", "application/json", o, nil)
}

// apply makes an object, or makes one that there is what it says. What others have set stays.
func (c *client) apply(ctx context.Context, k kind, name string, o object) error {
	query := "?force=true&fieldManager=" + manager + "&fieldValidation=Strict"
	return c.do(ctx, http.MethodPatch, c.path(k, name)+query, "application/apply-patch+yaml", o, nil)
}

// get reads an object.
func (c *client) get(ctx context.Context, k kind, name string, into any) error {
	return c.do(ctx, http.MethodGet, c.path(k, name), "", nil, into)
}

// list reads the objects with labels, given as a=b,c=d.
func (c *client) list(ctx context.Context, k kind, labels string, into any) error {
	return c.do(ctx, http.MethodGet, c.path(k)+"?labelSelector="+url.QueryEscape(labels), "", nil, into)
}

// remove deletes an object and what it owns; nothing is done when there is none.
func (c *client) remove(ctx context.Context, k kind, name string) error {
	err := c.do(ctx, http.MethodDelete, c.path(k, name)+"?propagationPolicy=Background", "", nil, nil)
	if isReason(err, "NotFound") {
		return nil
	}
	return err
}

func (c *client) do(ctx context.Context, method, path, contentType string, in, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := c.send(ctx, method, path, contentType, in)
	if err != nil {
		return err
	}
	defer answer.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(answer, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("kubernetes: read the answer: %w", err)
	}
	return nil
}

// send sends a request and returns the body of a good answer, which the caller closes.
func (c *client) send(ctx context.Context, method, path, contentType string, in any) (io.ReadCloser, error) {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("kubernetes: %w", err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.cluster.Address+path, body)
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	token, err := c.cluster.Token()
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	if answer.StatusCode < http.StatusBadRequest {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	refused := &refusal{Code: answer.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10)) // without it the code is what there is to tell
	_ = json.Unmarshal(text, refused)
	return nil, refused
}
