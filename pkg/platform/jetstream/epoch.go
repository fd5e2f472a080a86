package jetstream

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// bootID is where Linux says which boot this is.
const bootID = "/proc/sys/kernel/random/boot_id"

// openEpoch returns the epoch of what a directory holds. What was written survives the process, however that ends, in the
// memory of the machine: so the epoch is the same for as long as that runs. Where it cannot be told whether it does, it is
// another one each time. With always it never changes.
func openEpoch(dir string, always bool) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name := filepath.Join(dir, "id")
	id, err := os.ReadFile(name)
	switch {
	case err == nil && uuid.Validate(strings.TrimSpace(string(id))) == nil:
	case err == nil || errors.Is(err, fs.ErrNotExist): // a power cut may leave an empty file: then it is another life as well
		id = []byte(uuid.NewString() + "\n")
		if err := os.WriteFile(name, id, 0o600); err != nil {
			return "", err
		}
	default:
		return "", err
	}
	epoch := strings.TrimSpace(string(id))
	if always {
		return epoch + "/always", nil
	}
	if boot, err := os.ReadFile(bootID); err == nil {
		return epoch + "/" + strings.TrimSpace(string(boot)), nil
	}
	return epoch + "/" + uuid.NewString(), nil
}
