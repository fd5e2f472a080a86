package state

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Admin is the name of the account that an operator logs in with.
const Admin = "admin"

func adminFile() string { return filepath.Join(Dir(), "admin_password") }

// AdminPassword returns the password of the admin, and makes one of 128 random bits where there is none yet. It is kept in
// the state directory, readable by its owner alone: whoever can read that owns the platform anyway.
func AdminPassword() (string, error) {
	b, err := os.ReadFile(adminFile())
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the admin's password: %w", err)
	}
	password := rand.Text()
	if err := writeFile(adminFile(), password); err != nil {
		return "", fmt.Errorf("keep the admin's password: %w", err)
	}
	return password, nil
}
