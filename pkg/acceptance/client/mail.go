package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Mail is a mail that the platform has put into its directory.
type Mail struct {
	ID, To, Subject string
	// Text is the mail as it stands in the file.
	Text string
}

var tokenInMail = regexp.MustCompile(`(?m)^[A-Z2-7]{26}\r?$`)

// Token is the token in a mail; empty if it has none.
func (m Mail) Token() string { return strings.TrimSpace(tokenInMail.FindString(m.Text)) }

// MailDir is the directory of the mails.
func (c *Client) MailDir() string { return filepath.Join(c.State, "mail") }

// Mails are the mails to an address, the oldest first. They are read as whoever owns the state directory can: the platform
// puts them there where no SMTP server is configured.
func (c *Client) Mails(to string) ([]Mail, error) {
	dir := c.MailDir()
	entries, err := os.ReadDir(dir) // in the order of their names, which is that of their ids
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var mails []Mail
	for _, entry := range entries {
		id, ok := strings.CutSuffix(entry.Name(), ".eml")
		if !ok {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		m, err := mail.ReadMessage(strings.NewReader(string(b)))
		if err != nil {
			return nil, fmt.Errorf("mail %s: %w", id, err)
		}
		recipients, err := m.Header.AddressList("To")
		if err != nil {
			return nil, fmt.Errorf("mail %s: %w", id, err)
		}
		if slices.ContainsFunc(recipients, func(a *mail.Address) bool { return strings.EqualFold(a.Address, to) }) {
			mails = append(mails, Mail{ID: id, To: to, Subject: m.Header.Get("Subject"), Text: string(b)})
		}
	}
	return mails, nil
}

// Mail waits for a mail to an address with a subject, the newest of them.
func (c *Client) Mail(ctx context.Context, to, subject string) (Mail, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		mails, err := c.Mails(to)
		if err != nil {
			return Mail{}, err
		}
		for _, m := range slices.Backward(mails) {
			if m.Subject == subject {
				return m, nil
			}
		}
		select {
		case <-ctx.Done():
			return Mail{}, fmt.Errorf("no mail %q has come: %w", subject, ctx.Err())
		case <-ticker.C:
		}
	}
}
