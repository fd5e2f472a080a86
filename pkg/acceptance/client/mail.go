package client

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Mail is a mail that a platform without a mail server has written to a file.
type Mail struct {
	// To is the address it is to, Subject its subject.
	To, Subject string
	// Token is the token in it; empty if it has none.
	Token string
	// name is that of its file, by which mails are in the order in which they were written.
	name string
}

// MailDir is the directory in which the platform's mails are.
func (c *Client) MailDir() string { return filepath.Join(c.State, "mail") }

// Mails returns the mails to an address, the oldest first.
func (c *Client) Mails(address string) ([]Mail, error) {
	files, err := filepath.Glob(filepath.Join(c.MailDir(), "*.eml"))
	if err != nil {
		return nil, err
	}
	var found []Mail
	for _, file := range files {
		m, err := readMail(file)
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(m.To, address) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b Mail) int { return strings.Compare(a.name, b.name) })
	return found, nil
}

// tokenLine is how a token stands in the text of a mail, on a line of its own.
var tokenLine = regexp.MustCompile(`(?m)^([A-Z2-7]{26})\r?$`)

func readMail(file string) (Mail, error) {
	f, err := os.Open(file) //nolint:gosec // a file of the platform's
	if err != nil {
		return Mail{}, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	message, err := mail.ReadMessage(bufio.NewReader(f))
	if err != nil {
		return Mail{}, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	to, err := mail.ParseAddress(message.Header.Get("To"))
	if err != nil {
		return Mail{}, fmt.Errorf("read the receiver of %s: %w", filepath.Base(file), err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	if err != nil {
		return Mail{}, fmt.Errorf("read the subject of %s: %w", filepath.Base(file), err)
	}
	body, err := io.ReadAll(message.Body)
	if err != nil {
		return Mail{}, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	m := Mail{To: to.Address, Subject: subject, name: filepath.Base(file)}
	if token := tokenLine.FindSubmatch(body); token != nil {
		m.Token = string(token[1])
	}
	return m, nil
}
