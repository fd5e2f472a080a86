package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service/mtls"
	"github.com/m3o/backend/pkg/service/telemetry/monitor"
)

// What the objects of the runtime are known by.
const (
	managedKey = "app.kubernetes.io/managed-by"
	managedBy  = "micro-runtime"
	nameKey    = "app.kubernetes.io/name"
	// soldKey is the label of pods of services that are sold, which NetworkPolicies hold to less than others.
	soldKey = "micro/sold"

	// What is noted at a Deployment.
	versionNote, sourceNote, formerNote, metadataNote = "micro/version", "micro/source", "micro/former", "micro/metadata"

	// recordKey and verifyKey are files of a service's Secret, which has its environment beside them.
	recordKey, verifyKey = "record.json", "verify.json"
)

// tlsPrefix is what the name of a Secret begins with that has the certificates of a service.
const tlsPrefix = "tls-"

// Where things are in a pod.
const (
	stateDir    = "/var/lib/micro"
	servicePort = 8000
	metricsPort = 9100
	// grace is how long a pod may take to end, in seconds: a service answers for 20 what it is working on.
	grace = 30
	// user is nobody that the node knows.
	user = 65532
)

// plan is what is made of a record.
type plan struct {
	rec    record
	image  string
	env    map[string]string
	verify []byte
	saved  []byte // the record
	// tls is where a pod finds its certificates, which are in a Secret that somebody else keeps; empty without TLS.
	tls string
}

func newPlan(rec record, config Config, verify []byte) (plan, error) {
	saved, err := json.Marshal(rec)
	if err != nil {
		return plan{}, fmt.Errorf("run service %s: %w", rec.Name, err)
	}
	p := plan{rec: rec, image: config.Image, env: make(map[string]string), verify: verify, saved: saved, tls: config.TLS}
	for _, v := range slices.Concat(config.Env(rec.Sold), rec.Env) {
		name, value, _ := strings.Cut(v, "=")
		p.env[name] = value
	}
	// Who the service is comes last, where nothing can replace it.
	credentials := config.Credentials(rec.Name, rec.Version, rec.Sold)
	maps.Copy(p.env, map[string]string{
		state.Env:            stateDir,
		"MICRO_PROFILE":      "service",
		"MICRO_SERVICE_NAME": rec.Name, "MICRO_SERVICE_VERSION": rec.Version,
		"MICRO_SERVICE_ADDRESS": fmt.Sprintf(":%d", servicePort),
		monitor.AddressEnv:      fmt.Sprintf(":%d", metricsPort),
		"MICRO_AUTH_ID":         credentials.ID, "MICRO_AUTH_SECRET": credentials.Secret,
	})
	if p.tls != "" {
		p.env[state.TLSEnv] = p.tls
	}
	return p, nil
}

func (p plan) labels() map[string]string {
	return map[string]string{nameKey: p.rec.Name, managedKey: managedBy, soldKey: fmt.Sprint(p.rec.Sold)}
}

// secret has the whole environment: nobody who may look at a Deployment sees any of it.
func (p plan) secret() object {
	data := map[string][]byte{recordKey: p.saved, verifyKey: p.verify}
	for name, value := range p.env {
		data[name] = []byte(value)
	}
	return object{
		"apiVersion": secrets.version, "kind": secrets.name, "type": "Opaque",
		"metadata": object{"name": p.rec.Name, "labels": p.labels()},
		"data":     data,
	}
}

// service gives the pods a name, for whoever does not ask the registry.
func (p plan) service() object {
	return object{
		"apiVersion": services.version, "kind": services.name,
		"metadata": object{"name": p.rec.Name, "labels": p.labels()},
		"spec": object{
			"selector": map[string]string{nameKey: p.rec.Name, managedKey: managedBy},
			"ports": []object{
				{"name": "rpc", "port": servicePort, "targetPort": "rpc", "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
				{"name": "metrics", "port": metricsPort, "targetPort": "metrics", "protocol": "TCP"},
			},
		},
	}
}

func (p plan) deployment() object {
	metadata, _ := json.Marshal(p.rec.Metadata) // of strings: it never fails
	return object{
		"apiVersion": deployments.version, "kind": deployments.name,
		"metadata": object{"name": p.rec.Name, "labels": p.labels(), "annotations": map[string]string{
			versionNote: p.rec.Version, sourceNote: p.rec.Source, formerNote: p.rec.Former, metadataNote: string(metadata),
		}},
		"spec": object{
			"replicas": p.rec.Instances,
			"selector": object{"matchLabels": map[string]string{nameKey: p.rec.Name, managedKey: managedBy}},
			"strategy": object{"type": "RollingUpdate", "rollingUpdate": object{"maxUnavailable": 0, "maxSurge": 1}},
			"template": object{
				"metadata": object{"labels": p.labels(), "annotations": map[string]string{
					// Pods are replaced when what they mount has changed, and when that was asked for.
					"micro/checksum": p.checksum(), "micro/forced": p.rec.Forced,
				}},
				"spec": p.pod(),
			},
		},
	}
}

// checksum stands for the environment and the keys. The metadata of the record is for people.
func (p plan) checksum() string {
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		_, _ = fmt.Fprintf(hash, "%q=%q\n", name, p.env[name]) // a hash takes everything
	}
	hash.Write(p.verify)
	return hex.EncodeToString(hash.Sum(nil))
}

// pod is what the Pod Security Standard "restricted" lets in, and nothing that it would have let in beside that.
func (p plan) pod() object {
	env := make([]object, 0, len(p.env))
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		env = append(env, object{"name": name, "valueFrom": object{"secretKeyRef": object{"name": p.rec.Name, "key": name}}})
	}
	mounts := []object{
		{"name": "state", "mountPath": stateDir},
		{"name": "keys", "mountPath": stateDir + "/keys", "readOnly": true},
		{"name": "tmp", "mountPath": "/tmp"},
	}
	volumes := []object{
		{"name": "state", "emptyDir": object{"sizeLimit": "2Gi"}},
		{"name": "tmp", "emptyDir": object{"sizeLimit": "256Mi"}},
		{"name": "keys", "secret": object{"secretName": p.rec.Name, "defaultMode": 0o440, "items": []object{
			{"key": verifyKey, "path": "verify.json"},
		}}},
	}
	if p.tls != "" {
		mounts = append(mounts, object{"name": "tls", "mountPath": p.tls, "readOnly": true})
		volumes = append(volumes, object{"name": "tls", "secret": object{
			// As Secrets of the type kubernetes.io/tls have them.
			"secretName": tlsPrefix + p.rec.Name, "defaultMode": 0o440, "items": []object{
				{"key": "tls.crt", "path": mtls.CertFile}, {"key": "tls.key", "path": mtls.KeyFile}, {"key": "ca.crt", "path": mtls.CAFile},
			},
		}})
	}
	return object{
		"serviceAccountName": "service", "automountServiceAccountToken": false, "enableServiceLinks": false,
		"terminationGracePeriodSeconds": grace,
		"securityContext": object{
			"runAsNonRoot": true, "runAsUser": user, "runAsGroup": user, "fsGroup": user,
			"seccompProfile": object{"type": "RuntimeDefault"},
		},
		"containers": []object{{
			"name": "main", "image": p.image,
			"args": slices.Concat([]string{"kubernetes", "start", p.rec.Source, "--"}, p.rec.Args),
			"env":  env,
			"ports": []object{
				{"name": "rpc", "containerPort": servicePort, "protocol": "TCP"},
				{"name": "metrics", "containerPort": metricsPort, "protocol": "TCP"},
			},
			"securityContext": object{
				"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
				"capabilities": object{"drop": []string{"ALL"}},
			},
			"resources": object{
				"requests": object{"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "256Mi"},
				"limits":   object{"cpu": "2", "memory": "512Mi", "ephemeral-storage": "2Gi"},
			},
			// It may be fetched, wait for the platform and migrate its database.
			"startupProbe":   probe("/healthz", 2, 90),
			"livenessProbe":  probe("/healthz", 10, 3),
			"readinessProbe": probe("/readyz", 2, 2),
			// The last line of the log says why it did not start.
			"terminationMessagePolicy": "FallbackToLogsOnError",
			"volumeMounts":             mounts,
		}},
		"volumes": volumes,
	}
}

func probe(path string, period, failures int) object {
	return object{
		"httpGet": object{"path": path, "port": "metrics"}, "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures,
	}
}
