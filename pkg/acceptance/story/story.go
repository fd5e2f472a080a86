// Package story plays what the platform is for, step by step, each over the wire as a client would do it, and tells it as
// it happens. It is what `make demo` shows and what the acceptance test checks; where a step does not answer as it should,
// the story ends with an error.
package story

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/acceptance/client"
)

// Play plays the story so far against a running platform. It makes customers of its own, so that it can be played again
// and again, and by several at once.
func Play(ctx context.Context, c *client.Client, out io.Writer) error {
	s := &story{ctx: ctx, client: c, out: out}
	for _, step := range []func() error{s.create, s.read, s.createAgain, s.update, s.list, s.mistakes, s.others, s.remove} {
		if err := step(); err != nil {
			return err
		}
	}
	s.tell("That is the story so far.")
	return nil
}

type story struct {
	ctx    context.Context //nolint:containedctx // a story is one call of Play
	client *client.Client
	out    io.Writer

	email, id string
}

func (s *story) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, "\n"+format+"\n", args...) // nobody may be listening
}

func (s *story) show(line string) { _, _ = fmt.Fprintln(s.out, "  "+line) }

// post makes a call over HTTP and shows it. The code must be the one that is expected.
func (s *story) post(code int, path, body string) (map[string]any, error) {
	s.show("$ curl " + s.client.API + path + " -d '" + body + "'")
	a, err := s.client.Post(s.ctx, path, body)
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

// expect compares one field of the customer in an answer.
func expect(answer map[string]any, field string, want any) error {
	customer, _ := answer["customer"].(map[string]any)
	if got := customer[field]; got != want {
		return fmt.Errorf("customer.%s is %v where %v was expected", field, got, want)
	}
	return nil
}

func (s *story) create() error {
	s.email = "jane." + strings.ReplaceAll(uuid.NewString(), "-", "")[:12] + "@example.com"
	s.tell("An operator enters a customer, with the command line:")
	answer, err := s.call("customers", "Customers.Create", fmt.Sprintf(`{"email": %q, "name": "Jane"}`, s.email))
	if err != nil {
		return err
	}
	customer, _ := answer["customer"].(map[string]any)
	if s.id, _ = customer["id"].(string); s.id == "" {
		return fmt.Errorf("the new customer has no id: %v", answer)
	}
	return expect(answer, "status", "awaiting_verification")
}

func (s *story) read() error {
	s.tell("and reads her over HTTP:")
	answer, err := s.post(http.StatusOK, "/customers/Read", fmt.Sprintf(`{"id": %q}`, s.id))
	if err != nil {
		return err
	}
	return expect(answer, "email", s.email)
}

func (s *story) createAgain() error {
	s.tell("The same address, however it is written, is the same customer:")
	answer, err := s.post(http.StatusOK, "/customers/Create", fmt.Sprintf(`{"email": %q}`, strings.ToUpper(s.email)))
	if err != nil {
		return err
	}
	return expect(answer, "id", s.id)
}

func (s *story) update() error {
	s.tell("She gets her full name:")
	answer, err := s.post(http.StatusOK, "/customers/Update",
		fmt.Sprintf(`{"customer": {"id": %q, "name": "Jane Doe"}, "update_mask": "name"}`, s.id))
	if err != nil {
		return err
	}
	return expect(answer, "name", "Jane Doe")
}

func (s *story) list() error {
	s.tell("and is found by the beginning of her address:")
	answer, err := s.post(http.StatusOK, "/customers/List", fmt.Sprintf(`{"query": %q, "page_size": 10}`, s.email[:17]))
	if err != nil {
		return err
	}
	if found, _ := answer["customers"].([]any); len(found) != 1 {
		return fmt.Errorf("%d customers were found where 1 was expected", len(found))
	}
	return nil
}

func (s *story) mistakes() error {
	s.tell("A mistake is told by name, and changes nothing:")
	for _, body := range []string{`{"email": "jane@@example.com"}`, `{"email": 5}`, `{"emial": "x"}`, `{"email": `} {
		if _, err := s.post(http.StatusBadRequest, "/customers/Create", body); err != nil {
			return err
		}
	}
	_, err := s.post(http.StatusNotFound, "/customers/Read", `{"id": "`+uuid.Nil.String()+`"}`)
	return err
}

func (s *story) others() error {
	s.tell("The other services answer too:")
	if _, err := s.call("mixpanel", "Mixpanel.Ping", `{}`); err != nil {
		return err
	}
	if _, err := s.post(http.StatusOK, "/billing/ListTiers", `{}`); err != nil {
		return err
	}
	track := uuid.NewString()
	if _, err := s.post(http.StatusOK, "/signup/Track", fmt.Sprintf(`{"id": %q, "referrer": "https://example.com"}`, track)); err != nil {
		return err
	}
	if _, err := s.post(http.StatusOK, "/signup/ReadTrack", fmt.Sprintf(`{"id": %q}`, track)); err != nil {
		return err
	}
	_, err := s.post(http.StatusOK, "/usage/ReadMonthlyTotal", fmt.Sprintf(`{"customer_id": %q}`, s.id))
	return err
}

func (s *story) remove() error {
	s.tell("She leaves; her record stays for those who may look:")
	if _, err := s.post(http.StatusOK, "/customers/Delete", fmt.Sprintf(`{"id": %q}`, s.id)); err != nil {
		return err
	}
	answer, err := s.post(http.StatusOK, "/customers/Read", fmt.Sprintf(`{"id": %q}`, s.id))
	if err != nil {
		return err
	}
	return expect(answer, "status", "inactive")
}
