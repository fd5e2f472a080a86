package redis

import (
	"net/url"
	"strconv"

	"github.com/google/uuid"
)

// prefix is what all names in Redis begin with.
const prefix = "micro:events:"

const (
	// topicsKey is a set of the names of all topics.
	topicsKey = prefix + "topics"
	// sweepKey is there when somebody has swept a moment ago.
	sweepKey = prefix + "sweep"
)

// keys are the names of what there is of a topic in Redis. What is in braces decides in which slot of a cluster they are: so
// all keys of a topic are in one.
type keys struct {
	stream string // the stream, and the channel on which is told that there is something
	state  string // a hash: what is counted, and the settings of groups
	marks  string // a list: how many bytes there had been up to an event, every now and then
}

func keysOf(topic string) keys {
	stream := prefix + "{" + url.QueryEscape(topic) + "}"
	return keys{stream: stream, state: stream + ":state", marks: stream + ":marks"}
}

// late is a sorted set of the events that are put off for a group, by when they are due; in ms.
func (k keys) late(group string) string { return k.stream + ":late:" + group }

// alive is a sorted set of the members of a group by when they were there last, in ms; "" is for those that have gone.
func (k keys) alive(group string) string { return k.stream + ":alive:" + group }

// newMember is the name of a member that there has never been. Two others are no processes: "free" has what anybody may take,
// and "late" what is put off.
func newMember() string { return uuid.NewString() }

// before is the id that is just before all that can come in a millisecond.
func before(ms int64) string {
	if ms <= 0 {
		return "0"
	}
	return strconv.FormatInt(ms-1, 10) + "-18446744073709551615"
}
