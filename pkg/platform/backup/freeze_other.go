//go:build !linux

package backup

import "errors"

// freeze needs /proc to know that nothing runs any more.
func freeze(int) (thaw func() error, err error) {
	return nil, errors.New("the platform can only be backed up while it runs on Linux: stop it first (micro shutdown)")
}
