package service

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/pkg/internal/testproto"
)

// A wrong request must not cost much more than a right one, however it is built.
func TestExplainingIsBounded(t *testing.T) {
	t.Parallel()
	// Each level is parsed again on the way to the mistake, which is at the bottom of a heavy message.
	const levels = 90
	body := strings.Repeat(`{"inner":`, levels) + `{"words":["` + strings.Repeat("x", 1<<20) + `"],"text":5}` + strings.Repeat("}", levels)
	err := decode([]byte(body), jsonText, new(pb.Shape))
	require.Error(t, err)
	assert.Contains(t, err.Error(), "too large to say where")
	assert.Less(t, len(err.Error()), 1000)
}

func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{
		``, `null`, `{}`, `{"text": 5}`, `{"inner": {"inner": {"flag": 1}}}`, `{"words": [1]}`, `{"numbers": {"a": 1}}`,
		`{"meta": {"a": "b", "a": "c"}}`, `{"first": "a", "second": 1}`, `{"time": "x"}`, `{"object": {"a": [null]}}`,
		"{\"text\": \"\xff\"}", `{"text": "\ud800"}`, `{"named": {"a": {"text": 1}}}`, `{"color": 7}`, `{"updateMask": "a_b"}`,
		`{"named": {"a": null}}`, `{"shapes": [null]}`, `{"wait": "1"}`, `{"large_count": -1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m, plain pb.Shape
		err := decode(data, jsonText, &m)
		if (protojson.UnmarshalOptions{}).Unmarshal(data, &plain) == nil && !deeper(data, maxDepth) {
			require.NoError(t, err, "protobuf takes it")
			assert.True(t, proto.Equal(&m, &plain))
		}
		requireQuiet(t, err, data)
	})
}

func FuzzDecodeProtobuf(f *testing.F) {
	for _, m := range []*pb.Shape{
		{}, {Text: "ä", Words: []string{"a"}, Meta: map[string]string{"a": "b"}},
		{Inner: &pb.Shape{Named: map[string]*pb.Shape{"a": {Ratio: 1}}}},
	} {
		b, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte("\x0a\x01\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		requireQuiet(t, decode(data, protobuf, new(pb.Shape)), data)
	})
}

// requireQuiet requires that an error is one of the caller's, says something, and repeats nothing that was sent but the
// name of an unknown field.
func requireQuiet(t *testing.T, err error, data []byte) {
	t.Helper()
	if err == nil {
		return
	}
	require.Equal(t, errors.KindInvalid, errors.KindOf(err))
	text := err.Error()
	assert.Less(t, len(text), 2000)
	if i := strings.Index(text, "unknown field "); i >= 0 {
		assert.Regexp(t, `unknown field "[A-Za-z_][A-Za-z0-9_]{0,63}"$`, text)
		return
	}
	for _, r := range text {
		assert.True(t, r >= ' ' && r < 0x7f, "%q has what can only come from %q", text, data)
	}
}
