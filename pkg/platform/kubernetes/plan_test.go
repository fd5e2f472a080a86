package kubernetes

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/runtime"
)

func TestCertificatesAreMounted(t *testing.T) {
	t.Parallel()
	config := Config{
		Env:         func(bool) []string { return nil },
		Credentials: func(string, string, bool) runtime.Credentials { return runtime.Credentials{} },
	}
	pod := func() string {
		p, err := newPlan(record{Name: "weather", Env: []string{"MICRO_TLS=/elsewhere"}}, config, nil)
		require.NoError(t, err)
		text, err := json.Marshal(p.pod())
		require.NoError(t, err)
		if config.TLS != "" {
			require.Equal(t, config.TLS, p.env["MICRO_TLS"], "a service does not choose")
		}
		return string(text)
	}
	require.NotContains(t, pod(), "tls-weather")
	config.TLS = "/run/tls"
	require.Contains(t, pod(), `{"mountPath":"/run/tls","name":"tls","readOnly":true}`)
	require.Contains(t, pod(), `{"key":"ca.crt","path":"ca.pem"}],"secretName":"tls-weather"}`)
}
