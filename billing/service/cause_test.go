package service

import (
	stderrors "errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/errors"
)

// What nobody is told of an operation that is not their own is in the log, with its reason.
func TestWithCause(t *testing.T) {
	t.Parallel()
	cause := stderrors.New("Stripe: status 402, code card_declined")
	require.Equal(t, "declined: Stripe: status 402, code card_declined", withCause(errors.PaymentRequired("declined").WithCause(cause)))
	require.Equal(t, "declined", withCause(errors.PaymentRequired("declined")))
	require.Equal(t, cause.Error(), withCause(cause))
}
