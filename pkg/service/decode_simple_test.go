package service

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/m3o/backend/pkg/internal/testproto"
)

// simpleRequest is one as callers send it.
const simpleRequest = `{"owner": {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "numbers": [1, 2, 3]}, "email": "jane@example.com"}`

func TestSimpleRequests(t *testing.T) {
	t.Parallel()
	for text, simple := range map[string]bool{
		`{}`: true, ` { } ` + "\n": true, `{"text":"a","words":["b" , "c"],"flag":true}`: true, `{"flag":false,"small":-5}`: true,
		`{"inner":{"inner":{"text":""}},"shapes":[{},{"small":1}],"words":[]}`: true, `{"small_count":1,"largeCount":2}`: true,
		`{"large":999999999999999999}`: true, `{"large":1234567890123456789}`: false, `{"small":2147483648}`: false, `{"small_count":-1}`: false,
		`{"large":"1"}`: false, `{"small":1.0}`: false, `{"small":1e2}`: false, `{"small":01}`: false, `{"small":-0}`: false, `{"small":- 1}`: false,
		`{"text":"\u0061"}`: false, `{"text":"ä"}`: false, `{"text":"a` + "\n" + `"}`: false, `{"text":null}`: false, `{"data":"YQ=="}`: false,
		`{"text":"a","text":"b"}`: false, `{"flag":false,"flag":true}`: false, `{"meta":{}}`: false, `{"first":"a"}`: false,
		`{"time":"2026-01-01T00:00:00Z"}`: false, `{"color":0}`: false, `{"nothing":1}`: false, `{"text":"a",}`: false, `{"text":"a"}{}`: false,
		`{"flag":truefalse}`: false, `{"text" "a"}`: false, `{"text":"a"`: false, `{`: false, `[]`: false, `"a"`: false, `{"words":["a"`: false,
		`{"words":["a",]}`: false, `{text:"a"}`: false, `{"ratio":1}`: false,
	} {
		var m, plain pb.Shape
		require.Equal(t, simple, decodeSimple([]byte(text), m.ProtoReflect()), text)
		if simple {
			require.NoError(t, protojson.Unmarshal([]byte(text), &plain), text)
			require.True(t, proto.Equal(&m, &plain), text)
		}
	}
	require.True(t, decodeSimple([]byte(simpleRequest), new(pb.OwnRequest).ProtoReflect()))
}

// Requests that are put together of what JSON is made of are either left to protobuf, or decoded as protobuf does.
func TestSimpleRequestsAreDecodedAsByProtobuf(t *testing.T) {
	t.Parallel()
	pieces := rapid.SampledFrom([]string{
		`{`, `}`, `{}`, `[`, `]`, `[]`, `,`, `:`, ` `, `"`, `"text":"a"`, `"flag":true`, `"flag":`, `false`, `"small":1`, `"small":`, `-1`, `0`, `7`,
		`"inner":{`, `"shapes":[{`, `"shapes":[`, `}]`, `"words":[`, `"b"`, `"large":`, `"largeCount":`, `"large_count":`, `null`, `\`, `"numbers":{`,
		`"time":`, `9223372036854775807`, `.5`, `e1`,
	})
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		text := `{`
		for _, p := range rapid.SliceOfN(pieces, 0, 12).Draw(rt, "pieces") {
			text += p
		}
		for range rapid.IntRange(0, 3).Draw(rt, "ends") {
			text += `}`
		}
		var m, plain pb.Shape
		if !decodeSimple([]byte(text), m.ProtoReflect()) {
			return
		}
		taken++
		require.NoError(rt, protojson.Unmarshal([]byte(text), &plain), text)
		require.True(rt, proto.Equal(&m, &plain), text)
	})
	require.NotZero(t, taken)
}

func BenchmarkDecodeJSON(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := decode([]byte(simpleRequest), jsonText, new(pb.OwnRequest)); err != nil {
			b.Fatal(err)
		}
	}
}
