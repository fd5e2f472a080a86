package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/acceptance/client"
)

// patience is how long what follows by itself may take: an event, a mail, a count.
const patience = 20 * time.Second

type story struct {
	ctx    context.Context //nolint:containedctx // a story is one call of Play
	client *client.Client
	source string
	out    io.Writer

	email, id, password string
	jane                *client.Client // with her token
	key, keyID          string
	keyed               *client.Client // with her API key
}

func (s *story) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, "\n"+format+"\n", args...) // nobody may be listening
}

func (s *story) show(line string) { _, _ = fmt.Fprintln(s.out, "  "+line) }

// post makes a call over HTTP, as anybody can, and shows it. The code must be the one that is expected.
func (s *story) post(code int, path, body string) (map[string]any, error) {
	return s.postAs(s.client, "", code, path, body)
}

// own makes a call over HTTP as the customer and shows it.
func (s *story) own(code int, path, body string) (map[string]any, error) {
	return s.postAs(s.jane, ` -H "Authorization: Bearer $JANE"`, code, path, body)
}

// sold makes a call of an API that is sold, with her key.
func (s *story) sold(code int, path, body string) (map[string]any, error) {
	return s.postAs(s.keyed, ` -H "X-Api-Key: $KEY"`, code, path, body)
}

func (s *story) postAs(c *client.Client, header string, code int, path, body string) (map[string]any, error) {
	s.show("$ curl " + c.API + path + header + " -d '" + body + "'")
	a, err := c.Post(s.ctx, path, body)
	if err != nil {
		return nil, err
	}
	s.show(string(a.Body))
	if a.Code != code {
		return nil, fmt.Errorf("%s answered %d where %d was expected: %s", path, a.Code, code, a.Body)
	}
	return a.Fields(), nil
}

// call makes a call with the command line and shows it.
func (s *story) call(service, endpoint, body string) (map[string]any, error) {
	s.show("$ bin/micro call " + service + " " + endpoint + " '" + body + "'")
	answer, err := s.client.Call(s.ctx, service, endpoint, body)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	s.show(string(b))
	return answer, nil
}

// refused makes a call with the command line that must not be answered, and shows what it says instead.
func (s *story) refused(service, endpoint, body, why string) error {
	s.show("$ bin/micro call " + service + " " + endpoint + " '" + body + "'")
	out, err := s.client.Run(s.ctx, "call", service, endpoint, body)
	if s.show(strings.TrimSpace(out)); err == nil || !strings.Contains(out, why) {
		return fmt.Errorf("micro call %s %s says %q where %q was expected", service, endpoint, out, why)
	}
	return nil
}

// errNotYet is the error of what may still come by itself.
var errNotYet = errors.New("not yet")

// eventually tries until f has no error, or another one than errNotYet.
func (s *story) eventually(f func() error) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if !errors.Is(err, errNotYet) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, and it did not come within %s", err, patience)
		case <-tick.C:
		}
	}
}

// becomes makes a call over HTTP until it answers with the code, and shows that answer.
func (s *story) becomes(c *client.Client, header string, code int, path, body string) error {
	s.show("$ curl " + c.API + path + header + " -d '" + body + "'")
	return s.eventually(func() error {
		a, err := c.Post(s.ctx, path, body)
		if err != nil {
			return err
		}
		if a.Code != code {
			return fmt.Errorf("%s answers %d where %d is expected: %w", path, a.Code, code, errNotYet)
		}
		s.show(string(a.Body))
		return nil
	})
}

// expect compares one field of the customer in an answer.
func expect(answer map[string]any, field string, want any) error {
	customer, _ := answer["customer"].(map[string]any)
	if got := customer[field]; got != want {
		return fmt.Errorf("customer.%s is %v where %v was expected", field, got, want)
	}
	return nil
}

// text is a field of an answer that must be there.
func text(answer map[string]any, path ...string) (string, error) {
	var at any = answer
	for _, name := range path {
		fields, _ := at.(map[string]any)
		at = fields[name]
	}
	found, _ := at.(string)
	if found == "" {
		return "", fmt.Errorf("the answer has no %s: %v", strings.Join(path, "."), answer)
	}
	return found, nil
}

// ok is the code of a call that is answered.
const ok = http.StatusOK
