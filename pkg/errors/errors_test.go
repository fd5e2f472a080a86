package errors_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/m3o/backend/pkg/errors"
)

func TestKinds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err       error
		kind      errors.Kind
		text      string
		permanent bool
	}{
		"nothing":         {err: nil},
		"invalid":         {errors.Invalid("customer.meta", "at most %d keys", 50), 400, "customer.meta: at most 50 keys", true},
		"unauthenticated": {errors.Unauthenticated("a token is missing"), 401, "a token is missing", true},
		"payment":         {errors.PaymentRequired("top up"), 402, "top up", true},
		"forbidden":       {errors.Forbidden("admins only"), 403, "admins only", true},
		"not found":       {errors.NotFound("id", "no such customer"), 404, "id: no such customer", true},
		"conflict":        {errors.Conflict("version", "is %d now", 3), 409, "version: is 3 now", true},
		"too many":        {errors.TooMany("wait a minute"), 429, "wait a minute", false},
		"unavailable":     {errors.Unavailable("full: try again later"), 503, "full: try again later", false},
		"wrapped":         {fmt.Errorf("create: %w", errors.Invalid("name", "too long")), 400, "create: name: too long", true},
		"anything else":   {io.ErrUnexpectedEOF, 500, "unexpected EOF", false},
		"out of time":     {errors.NotFound("id", "gone").WithCause(context.DeadlineExceeded), 404, "id: gone", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.kind, errors.KindOf(tc.err))
			assert.Equal(t, tc.permanent, errors.Permanent(tc.err))
			if tc.err != nil {
				assert.Equal(t, tc.text, tc.err.Error())
			}
		})
	}
}

func TestCauseIsKeptAndNotShown(t *testing.T) {
	t.Parallel()
	plain := errors.NotFound("id", "no such customer")
	err := plain.WithCause(io.EOF)
	assert.True(t, stderrors.Is(err, io.EOF))
	assert.NotContains(t, err.Error(), io.EOF.Error())
	assert.NoError(t, plain.Cause, "the original is not changed")
}
