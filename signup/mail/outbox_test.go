package mail_test

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	outbox "github.com/m3o/backend/signup/mail"
	"github.com/m3o/backend/signup/service"
)

func setup(t *testing.T) (*outbox.Outbox, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state", "mail")
	o, err := outbox.NewOutbox(dir, from)
	require.NoError(t, err)
	return o, dir
}

func read(t *testing.T, dir, id string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, id+".eml"))
	require.NoError(t, err)
	return string(b)
}

// The mail is a file that any mail program reads, and is compared as a whole.
func TestOutbox(t *testing.T) {
	t.Parallel()
	o, dir := setup(t)
	require.NoError(t, o.Send(t.Context(), hello))
	got := read(t, dir, hello.ID)
	want, err := os.ReadFile(filepath.Join("testdata", "hello.eml"))
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(string(want), "\n", "\r\n"), got)

	m, err := mail.ReadMessage(strings.NewReader(got))
	require.NoError(t, err)
	to, err := m.Header.AddressList("To")
	require.NoError(t, err)
	require.Equal(t, []*mail.Address{{Address: hello.To}}, to)
	sender, err := m.Header.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, []*mail.Address{{Name: "Micro & Söhne", Address: "noreply@mail.example.com"}}, sender)
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, hello.Subject, subject)
	date, err := m.Header.Date()
	require.NoError(t, err)
	require.True(t, hello.Date.Equal(date))
	require.Equal(t, "<"+hello.ID+"@mail.example.com>", m.Header.Get("Message-ID"))

	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for _, want := range []string{hello.Text, hello.HTML} {
		part, err := parts.NextRawPart()
		require.NoError(t, err)
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(want), strings.TrimSpace(strings.ReplaceAll(string(body), "\r\n", "\n")))
	}
	_, err = parts.NextRawPart()
	require.ErrorIs(t, err, io.EOF)

	info, err := os.Stat(filepath.Join(dir, hello.ID+".eml"))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm(), "for the platform's owner alone")
}

// A mail that is sent again is the same file, whoever sends it, and however many at once; and no other file stays behind.
func TestOutboxAgain(t *testing.T) {
	t.Parallel()
	o, dir := setup(t)
	require.NoError(t, o.Send(t.Context(), hello))
	first := read(t, dir, hello.ID)
	second := hello
	second.ID = uuid.Must(uuid.NewV7()).String()
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for i := range cap(errs) {
		wg.Go(func() {
			if i%2 == 0 {
				errs <- o.Send(t.Context(), hello)
			} else {
				errs <- o.Send(t.Context(), second)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, first, read(t, dir, hello.ID))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 2)
}

func TestOutboxIsTidiedUp(t *testing.T) {
	t.Parallel()
	o, dir := setup(t)
	require.NoError(t, os.RemoveAll(filepath.Dir(dir)))
	require.NoError(t, o.Send(t.Context(), hello))
	require.NotEmpty(t, read(t, dir, hello.ID))
}

func TestOutboxWithoutASender(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o, err := outbox.NewOutbox(dir, "")
	require.NoError(t, err)
	require.NoError(t, o.Send(t.Context(), hello))
	require.Contains(t, read(t, dir, hello.ID), `From: "Micro" <noreply@localhost>`)
}

// Nothing that is no UUID becomes a file's name, nothing that is no address a header, and no line is added to the headers.
func TestOutboxRefuses(t *testing.T) {
	t.Parallel()
	o, dir := setup(t)
	for name, change := range map[string]func(*service.Mail){
		"no id":      func(m *service.Mail) { m.ID = "" },
		"a path":     func(m *service.Mail) { m.ID = "../../passwd" },
		"no address": func(m *service.Mail) { m.To = "jane" },
		"a header":   func(m *service.Mail) { m.To = "jane@example.com\r\nBcc: joe@example.com" },
		"two":        func(m *service.Mail) { m.To = "jane@example.com, joe@example.com" },
	} {
		m := hello
		change(&m)
		err := o.Send(t.Context(), m)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "jane", name)
	}
	m := hello
	m.Subject = "Hello\r\nBcc: joe@example.com\n\nbody"
	require.NoError(t, o.Send(t.Context(), m))
	got, err := mail.ReadMessage(strings.NewReader(read(t, dir, m.ID)))
	require.NoError(t, err)
	require.Empty(t, got.Header.Get("Bcc"))

	_, err = outbox.NewOutbox(dir, "Jane")
	require.EqualError(t, err, "the sender is no address")
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = outbox.NewOutbox(filepath.Join(file, "mail"), "")
	require.ErrorContains(t, err, "make the directory of mails")
}

func BenchmarkOutbox(b *testing.B) {
	o, err := outbox.NewOutbox(b.TempDir(), from)
	require.NoError(b, err)
	for i := 0; b.Loop(); i++ {
		m := hello
		m.ID = fmt.Sprintf("00000000-0000-7000-8000-%012d", i)
		if err := o.Send(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}
