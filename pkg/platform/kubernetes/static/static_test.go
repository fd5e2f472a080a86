package static_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/kubernetes/static"
)

func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\nfunc main() {}\n"), 0o600))
	binary := filepath.Join(dir, "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

func TestCheck(t *testing.T) {
	t.Parallel()
	binary := build(t)
	require.NoError(t, static.Check(binary))
	text, err := os.ReadFile(binary)
	require.NoError(t, err)
	text[18] = byte(elf.EM_RISCV) // where an ELF file has its machine
	require.NoError(t, os.WriteFile(binary, text, 0o600))
	require.ErrorContains(t, static.Check(binary), "it is not for "+runtime.GOARCH)
	require.ErrorContains(t, static.Check("static.go"), "it is not a binary of Linux")
	require.Error(t, static.Check("missing"))
	if runtime.GOOS == "linux" {
		shell, err := exec.LookPath("sh")
		require.NoError(t, err)
		require.ErrorContains(t, static.Check(shell), "it is linked dynamically")
	}
}
