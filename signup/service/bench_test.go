package service_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/signup/mail"
	"github.com/m3o/backend/signup/service/migrations"
)

// From the request to the mail in the directory, with what signup does of it: customers answers at once.
func BenchmarkSendVerificationEmail(b *testing.B) {
	w := setup(b, databasetest.Open(b, "signup", migrations.FS))
	outbox, err := mail.NewOutbox(b.TempDir(), "")
	require.NoError(b, err)
	w.mailer.SendStub = outbox.Send
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := w.SendVerificationEmail(b.Context(), fmt.Sprintf("%d@example.com", n.Add(1))); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "mails/s")
}
