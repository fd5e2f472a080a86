// Package mail sends the mails of signup: to an SMTP server, or into a directory where everybody who may read it finds them.
package mail

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/google/uuid"
	gomail "github.com/wneessen/go-mail"

	"github.com/m3o/backend/signup/service"
)

// defaultSender is who mails are from that go to nobody but a directory.
const defaultSender = "Micro <noreply@localhost>"

// sender makes messages from one address.
type sender struct{ from *mail.Address }

func newSender(from string) (sender, error) {
	address, err := mail.ParseAddress(from)
	if err != nil {
		return sender{}, errors.New("the sender is no address") // the cause would repeat it
	}
	return sender{from: address}, nil
}

// message returns a mail as it is sent. It is made of the mail alone: the same mail is the same message, to the byte.
func (s sender) message(m service.Mail) (*gomail.Msg, error) {
	// It becomes a header and the name of a file.
	id, err := uuid.Parse(m.ID)
	if err != nil {
		return nil, errors.New("a mail needs a UUID")
	}
	_, domain, _ := strings.Cut(s.from.Address, "@")
	msg := gomail.NewMsg(
		gomail.WithNoDefaultUserAgent(), gomail.WithBoundary("part-"+id.String()),
	)
	msg.FromMailAddress(s.from)
	if err := msg.To(m.To); err != nil {
		return nil, errors.New("the recipient is no address") // the cause would repeat it
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(m.Date.UTC())
	msg.SetMessageIDWithValue(fmt.Sprintf("%s@%s", id, domain))
	// Nobody's automatic answer is wanted.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	return msg, nil
}
