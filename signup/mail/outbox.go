package mail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	gomail "github.com/wneessen/go-mail"

	"github.com/m3o/backend/signup/service"
)

// Extension is that of the files of an Outbox.
const Extension = ".eml"

// Outbox puts mails into a directory, one file each, which is named after the mail's ID: <id>.eml. A file is there as a whole
// or not at all, and a mail that is sent again has the same file again. IDs are UUIDs of version 7, so that the files are in
// the order in which the mails were written.
//
// A file survives the death of any process, and perhaps not a power cut: it is not waited for the disk, which would take
// longer than all else that is done for a mail.
type Outbox struct {
	sender
	dir string
}

var _ service.Mailer = (*Outbox)(nil)

// NewOutbox returns an Outbox in a directory, which it makes if it is not there. From is as in service.EmailSettings; a
// sender is made up where it is empty.
func NewOutbox(dir, from string) (*Outbox, error) {
	s, err := newSender(cmp.Or(from, defaultSender))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of mails: %w", err)
	}
	return &Outbox{s, dir}, nil
}

// Send implements service.Mailer.
func (o *Outbox) Send(_ context.Context, m service.Mail) error {
	msg, err := o.message(m)
	if err != nil {
		return err
	}
	name := filepath.Join(o.dir, m.ID+Extension)
	err = o.write(name, msg)
	if errors.Is(err, fs.ErrNotExist) { // somebody has tidied up
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return fmt.Errorf("make the directory of mails: %w", err)
		}
		err = o.write(name, msg)
	}
	if err != nil {
		return fmt.Errorf("write a mail: %w", err)
	}
	return nil
}

func (o *Outbox) write(name string, msg *gomail.Msg) (err error) {
	file, err := os.CreateTemp(o.dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = msg.WriteTo(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
