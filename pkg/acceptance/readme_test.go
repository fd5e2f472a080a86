package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/state"
)

// TestReadmes runs what the READMEs tell people to type: each ```sh block, in order. A ```json block that follows shows the
// answer; what stands in it has to be in the real one, except that "..." stands for anything.
func TestReadmes(t *testing.T) {
	t.Parallel()
	p := boot(t, services...)
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(repository, service, "README.md"))
			require.NoError(t, err)
			examples := examplesOf(string(b))
			require.NotEmpty(t, examples)
			for _, e := range examples {
				e.run(t, p)
			}
		})
	}
}

// example is a command and the answer that is shown for it.
type example struct{ command, answer string }

func examplesOf(readme string) []example {
	var examples []example
	blocks := strings.Split(readme, "```")
	for i := 1; i < len(blocks); i += 2 {
		switch language, text, _ := strings.Cut(blocks[i], "\n"); language {
		case "sh":
			examples = append(examples, example{command: text})
		case "json":
			if len(examples) > 0 {
				examples[len(examples)-1].answer = text
			}
		}
	}
	return examples
}

func (e example) run(t *testing.T, p *platform) {
	t.Helper()
	command := strings.NewReplacer(
		"bin/micro", p.Micro,
		"localhost:8080", state.Addresses{Port: p.port}.Of("api"),
		"127.0.0.1:8080", state.Addresses{Port: p.port}.Of("api"),
		"127.0.0.1:8090", state.Addresses{Port: p.port}.StandIn("mixpanel"),
	).Replace(e.command)
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", command)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), state.Env+"="+p.State)
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", e.command, out)
	if e.answer == "" {
		return
	}
	var want, got any
	require.NoError(t, json.Unmarshal([]byte(e.answer), &want), "what is shown after %s", e.command)
	require.NoError(t, json.Unmarshal(out, &got), "%s: %s", e.command, out)
	require.NoError(t, contains(got, want, "answer"), "%s: %s", e.command, out)
}

// contains tells where got lacks something of want.
func contains(got, want any, path string) error {
	switch want := want.(type) {
	case string:
		if want == "..." {
			return nil
		}
	case map[string]any:
		fields, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: expected an object, got %v", path, got)
		}
		for name, value := range want {
			if err := contains(fields[name], value, path+"."+name); err != nil {
				return err
			}
		}
		return nil
	case []any:
		elements, ok := got.([]any)
		if !ok || len(elements) < len(want) {
			return fmt.Errorf("%s: expected at least %d elements, got %v", path, len(want), got)
		}
		for i, value := range want {
			if err := contains(elements[i], value, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s: expected %v, got %v", path, want, got)
	}
	return nil
}
