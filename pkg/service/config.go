package service

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/micro/micro/v3/service/config"
)

// Validator is what a configuration implements that has rules beyond the types of its fields. Its errors should name the
// key below the configuration's own, as in "smtp.port: expected a number from 1 to 65535", and never contain the value.
type Validator interface{ Validate() error }

// Config reads the value at a path of Micro's configuration ("micro.billing") into a struct, once. What into points to
// has the defaults; keys that are set replace them, a map or a list as a whole. Names of keys are those of the json tags.
//
// It is an error when a key is unknown or has a value of the wrong type, and when into is a Validator and refuses. The
// error names the full key and what was expected, and never contains the value. Secret values are decrypted.
//
// Micro keeps numbers as floating point and takes whatever looks like one for a number: a whole number has to be
// between -2^53 and 2^53, and a text such as 1.10 has to be set with its quotes.
func Config[T any](path string, into *T) error {
	value, err := config.Get(path, config.Secret(true))
	if err != nil {
		return fmt.Errorf("read configuration %s: %w", path, err)
	}
	return parseConfig(path, value.Bytes(), into)
}

// parseConfig parses the JSON text that is set at path. Micro answers null for what is not set, and a string without its
// quotes.
func parseConfig[T any](path string, text []byte, into *T) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil || d.More() {
		value = string(text)
	}
	if value != nil {
		if err := setValue(path, value, into); err != nil {
			return err
		}
	}
	if v, ok := any(into).(Validator); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("%s.%w", path, err)
		}
	}
	return nil
}
