package service

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type (
	question struct{ text string }
	reply    struct{ text string }
	methods  struct{ greeting string }
	// generated is what Micro's generated code hands over: an interface in a struct.
	generated struct{ asked }
	asked     interface {
		Ask(ctx context.Context, req *question, rsp *reply) error
	}
)

var errAsked = errors.New("asked for")

func (m *methods) Ask(_ context.Context, req *question, rsp *reply) error {
	if req.text == "" {
		return errAsked
	}
	rsp.text = m.greeting + req.text
	return nil
}

func (*methods) Stream(context.Context, server.Stream) error             { return nil }
func (*methods) Short(context.Context, *question) error                  { return nil }
func (*methods) Value(context.Context, question, *reply) error           { return nil }
func (*methods) NoContext(*question, *question, *reply) error            { return nil }
func (*methods) NoError(context.Context, *question, *reply) string       { return "" }
func (*methods) Many(context.Context, *question, *reply) (string, error) { return "", nil }
func (*methods) Rest(context.Context, *question, ...*reply) error        { return nil }

// asking is a request of a wrapper's own.
type asking struct {
	server.Request
	body any
}

func (a asking) Body() any { return a.body }

func TestUnaryMethodIsCalled(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]any{
		"method":    &methods{greeting: "hello "},
		"generated": &generated{&methods{greeting: "hello "}},
	} {
		u := unaryOf(handler, "a", "A.Ask")
		require.NotNil(t, u, name)
		require.Equal(t, reflect.TypeFor[question](), u.in)
		require.Equal(t, reflect.TypeFor[reply](), u.out)
		rsp := new(reply)
		require.NoError(t, u.call(t.Context(), asking{body: &question{"jane"}}, rsp), name)
		require.Equal(t, "hello jane", rsp.text, name)
		require.ErrorIs(t, u.call(t.Context(), asking{body: new(question)}, rsp), errAsked, name)

		// Whatever a wrapper puts in their place, no memory is taken for what it is not.
		require.ErrorContains(t, u.call(t.Context(), asking{body: &reply{"jane"}}, rsp), "a request of type *service.reply")
		require.ErrorContains(t, u.call(t.Context(), asking{body: new(question)}, "text"), "a response of type string")
	}
}

func TestOtherMethodsAreNotUnary(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Stream", "Short", "Value", "NoContext", "NoError", "Many", "Rest", "Missing"} {
		assert.Nil(t, unaryOf(&methods{}, "a", "A."+name), name)
	}
	assert.Nil(t, unaryOf(generated{&methods{}}, "a", "A.Ask"), "the handler is no pointer")
}
