package service_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/mixpanel/service"
)

func flattened(t require.TestingT, payload string) string {
	o, ok := service.Object([]byte(payload))
	require.True(t, ok)
	text, err := json.Marshal(service.Flatten(o))
	require.NoError(t, err)
	return string(text)
}

func TestFlatten(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ payload, want string }{
		"nothing":          {`{}`, `{}`},
		"numbers, truths":  {`{"n": 5, "f": 1.5, "t": true, "nothing": null}`, `{"n": 5, "f": 1.5, "t": true}`},
		"an int64":         {`{"quota": "9007199254740993", "zero": "0", "neg": "-5"}`, `{"quota": 9007199254740993, "zero": 0, "neg": -5}`},
		"too large":        {`{"quota": "9999999999999999999", "n": 1e9999999999999999999999999999999999}`, `{}`},
		"an id is none":    {`{"charge_id": "5", "batch": "5"}`, `{"charge_id": "5", "batch": 5}`},
		"a time":           {`{"expires": "2030-01-01T00:00:00.5Z"}`, `{"expires": "2030-01-01T00:00:00.5Z"}`},
		"a UUID":           {`{"batch": "` + jane + `"}`, `{"batch": "` + jane + `"}`},
		"what was typed":   {`{"nickname": "Jane", "hobby": "chess", "wish": "a b", "phone_number": 49123456}`, `{}`},
		"codes":            {`{"status": "active", "previous_tier": "free", "card_id": "card_1A", "type": "EventTypeX"}`, `{"status": "active", "previous_tier": "free", "card_id": "card_1A", "type": "EventTypeX"}`},
		"no code":          {`{"status": "jane@example.com", "card_id": "a b", "tier": ""}`, `{}`},
		"nested":           {`{"a": {"b": {"c": 1}}, "customer": {"id": "` + jane + `", "email": "jane@example.com", "version": "2"}}`, `{"a.b.c": 1, "customer.id": "` + jane + `", "customer.version": 2}`},
		"personal inside":  {`{"meta": {"n": 5}, "names": [1, 2], "payload": {"address": {"zip": 5, "n": 1}}}`, `{}`},
		"lists":            {`{"scopes": ["*", "weather/Now", "a b"], "n": [1, "x", {"a": 1}, [2]], "empty": [], "objects": [{"n": 1}]}`, `{"scopes": ["*", "weather/Now"], "n": [1]}`},
		"keys of maps":     {`{"by": {"jane@example.com": 5, "Jane": 5, "": 5, "é": 1}}`, `{}`},
		"keys and secrets": {`{"api_key": "abc", "api_key_id": "` + jane + `", "token": 5, "key": 5}`, `{"api_key_id": "` + jane + `"}`},
		"of a key": {
			`{"generate_key": {"api_key_id": "` + jane + `", "scopes": ["weather/Now"], "key": "abc"}}`,
			`{"generate_key.api_key_id": "` + jane + `", "generate_key.scopes": ["weather/Now"]}`,
		},
		"who has done it": {`{"caller_id": "` + jane + `"}`, `{}`},
		"names of APIs":   {`{"api_name": "weather", "endpoint_name": "Now", "tier_name": "Pro"}`, `{"api_name": "weather", "endpoint_name": "Now"}`},
		"of Mixpanel's":   {`{"time": 5, "distinct_id": 5, "token": 5, "mp_lib": 5, "$insert_id": 5, "inner": {"time": 5}}`, `{"inner.time": 5}`},
	} {
		require.JSONEq(t, tc.want, flattened(t, tc.payload), name)
	}
}

func TestFlattenIsBounded(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	require.JSONEq(t, `{}`, flattened(t, deep))
	wide := make(map[string]any)
	for i := range 1000 {
		wide[fmt.Sprint("n", i)] = json.Number("1")
	}
	require.Len(t, service.Flatten(map[string]any{"inner": wide}), 200)
	require.Len(t, service.Flatten(map[string]any{"n": slices.Repeat([]any{true}, 1000)})["n"], 100)
}

// typed is what somebody may have typed: it is in no set, and no program has made it.
const typed = "T3ll-nobody "

// Whatever an event looks like, nothing gets out of it that somebody has typed, and nothing at all of what is personal by its
// name, at any depth.
func TestNothingPersonalIsSent(t *testing.T) {
	t.Parallel()
	personal := slices.Sorted(maps.Keys(service.Personal))
	const secret = 8675309 // a number, which is only personal by its name
	rapid.Check(t, func(t *rapid.T) {
		fine := rapid.StringMatching(`[a-z][a-z0-9]{0,8}(_[a-z]{1,5}){0,2}`)
		text := rapid.Custom(func(t *rapid.T) any { return typed + rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "rest") })
		value := rapid.OneOf(text, rapid.Just[any](true), rapid.Map(rapid.IntRange(0, 99), func(n int) any { return n }))
		var build func(depth int, hidden bool) *rapid.Generator[any]
		build = func(depth int, hidden bool) *rapid.Generator[any] {
			leaf := value
			if hidden {
				leaf = rapid.Just[any](secret)
			}
			if depth == 0 {
				return leaf
			}
			return rapid.Custom(func(t *rapid.T) any {
				switch rapid.IntRange(0, 3).Draw(t, "shape") {
				case 0:
					return leaf.Draw(t, "leaf")
				case 1:
					return rapid.SliceOfN(build(depth-1, hidden), 0, 3).Draw(t, "list")
				}
				o := make(map[string]any)
				for range rapid.IntRange(0, 4).Draw(t, "fields") {
					key, inner := fine.Draw(t, "key"), hidden
					if rapid.Bool().Draw(t, "personal") {
						words := []string{rapid.SampledFrom(personal).Draw(t, "word")}
						words = append(words, rapid.SliceOfN(rapid.SampledFrom([]string{"id", "at", "home"}), 0, 2).Draw(t, "more")...)
						key, inner = strings.Join(rapid.Permutation(words).Draw(t, "words"), "_"), true
					}
					o[key] = build(depth-1, inner).Draw(t, "value")
				}
				return o
			})
		}
		payload, err := json.Marshal(map[string]any{"a": build(4, false).Draw(t, "a"), "customer": build(3, false).Draw(t, "b")})
		require.NoError(t, err)
		sent := flattened(t, string(payload))
		require.NotContains(t, sent, "nobody")
		require.NotContains(t, sent, fmt.Sprint(secret))
	})
}
