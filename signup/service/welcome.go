package service

import (
	"context"
	"time"

	"github.com/m3o/backend/pkg/address"
)

// Welcome sends a mail to somebody who has signed up. The id is that of the event that says so, and the mail's: however often
// the event comes, it is the same mail, to the byte.
func (s *Signup) Welcome(ctx context.Context, id, email string, at time.Time) error {
	a, err := address.Parse("customer.email", email)
	if err != nil {
		return err
	}
	m, err := s.render(KindWelcome, content{To: a.Text})
	if err != nil {
		return err
	}
	m.ID, m.To, m.Date = id, a.Text, at
	return s.mailer.Send(ctx, m)
}
