package jetstream

import (
	"encoding/base32"
	"regexp"
)

// plain are names that can be the names of files on any system, where case may not count.
var plain = regexp.MustCompile(`^[a-z0-9_-]+$`)

// letters are base32 without upper case.
var letters = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// encode makes the name of a JetStream stream or consumer of that of a topic or a group: one that can be read where that is
// possible. Distinct names stay distinct.
func encode(name string) string {
	if len(name) <= 128 && plain.MatchString(name) {
		return "p-" + name
	}
	return "x-" + letters.EncodeToString([]byte(name))
}

// subjectOf is the subject that the events of a JetStream stream have.
func subjectOf(streamName string) string { return "events." + streamName }
