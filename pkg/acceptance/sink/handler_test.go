package sink_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/sink"
)

// post imports a body and returns the code and what came back.
func post(t *testing.T, url string, body io.Reader, change func(*http.Request)) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url+"/import?strict=1", body)
	require.NoError(t, err)
	r.SetBasicAuth("token", "")
	if change != nil {
		change(r)
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	var fields map[string]any
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&fields))
	return answer.StatusCode, fields
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	answer, err := http.Get(url)
	require.NoError(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(b), answer.Header
}

func serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(open(t, sink.Config{Dir: t.TempDir()}).Handler())
	t.Cleanup(server.Close)
	return server.URL
}

const good = `{"event": "a", "properties": {"$insert_id": "1", "distinct_id": "c", "time": 1700000000, "n": 5}}`

func TestImport(t *testing.T) {
	t.Parallel()
	url := serve(t)
	code, body := post(t, url, strings.NewReader("["+good+"]"), nil)
	require.Equal(t, 200, code)
	require.EqualValues(t, 1, body["num_records_imported"])

	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := io.WriteString(w, "["+good+"]")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	code, _ = post(t, url, &zipped, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") })
	require.Equal(t, 200, code)

	code, text, _ := get(t, url+"/events?name=a&distinct_id=c&limit=5")
	require.Equal(t, 200, code)
	require.JSONEq(t, `{"events": [`+good+`]}`, text)
	_, text, _ = get(t, url+"/events?name=b")
	require.JSONEq(t, `{"events": []}`, text)
	_, text, _ = get(t, url+"/counts")
	require.JSONEq(t, `{"events": 1, "names": {"a": 1}, "duplicates": 1}`, text)
	code, text, header := get(t, url+"/")
	require.Equal(t, 200, code)
	require.Contains(t, text, "What Mixpanel would see")
	require.NotContains(t, text, "://", "nothing is loaded from elsewhere")
	require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
}

func TestSomeOfABatchAreRefused(t *testing.T) {
	t.Parallel()
	url := serve(t)
	wrong := map[string]string{
		"event":                  `{"properties": {"$insert_id": "2", "distinct_id": "c", "time": 1700000000}}`,
		"properties.$insert_id":  `{"event": "a", "properties": {"$insert_id": "2_", "distinct_id": "c", "time": 1700000000}}`,
		"properties.distinct_id": `{"event": "a", "properties": {"$insert_id": "2", "time": 1700000000}}`,
		"properties.time":        `{"event": "a", "properties": {"$insert_id": "2", "distinct_id": "c", "time": 5}}`,
	}
	for field, one := range wrong {
		code, body := post(t, url, strings.NewReader("["+good+","+one+"]"), nil)
		require.Equal(t, 400, code)
		require.EqualValues(t, 1, body["num_records_imported"])
		failed := body["failed_records"].([]any)
		require.Len(t, failed, 1)
		require.EqualValues(t, 1, failed[0].(map[string]any)["index"])
		require.Equal(t, field, failed[0].(map[string]any)["field"])
	}
	_, text, _ := get(t, url+"/counts")
	require.JSONEq(t, fmt.Sprintf(`{"events": 1, "names": {"a": 1}, "duplicates": %d}`, len(wrong)-1), text)
}

func TestRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	url := serve(t)
	for name, tc := range map[string]struct {
		body   string
		change func(*http.Request)
		code   int
	}{
		"nobody":   {"[]", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"no JSON":  {"{", nil, 400},
		"no array": {"{}", nil, 400},
		"no gzip":  {"[]", func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 400},
		"too many": {"[" + strings.Repeat(good+",", 2000) + good + "]", nil, 400},
		"too much": {strings.Repeat(" ", 10<<20) + "[]", nil, 413},
	} {
		code, body := post(t, url, strings.NewReader(tc.body), tc.change)
		require.Equal(t, tc.code, code, name)
		require.NotContains(t, body, "failed_records", name)
	}
	code, _, _ := get(t, url+"/events?limit=0")
	require.Equal(t, 400, code)
	code, _, _ = get(t, url+"/import")
	require.Equal(t, 405, code)

	r, err := http.NewRequest(http.MethodGet, url+"/events", nil)
	require.NoError(t, err)
	r.Host = "evil.example.com"
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, 421, answer.StatusCode)
}
