// Package story plays what the platform is for, step by step, each over the wire as a client would do it, and tells it as
// it happens. It is what `make demo` shows and what the acceptance test checks; where a step does not answer as it should,
// the story ends with an error.
package story

import (
	"context"
	"crypto/rand"
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
	for _, step := range []func() error{s.create, s.logIn, s.read, s.createAgain, s.update, s.strangers, s.list, s.mistakes, s.others, s.remove} {
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
	jane      *client.Client // with her token
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

func (s *story) logIn() error {
	s.tell("The operator gives her an account to log in with:")
	password := rand.Text()
	if _, err := s.call("auth", "Auth.Generate", fmt.Sprintf(`{"id": %q, "type": "customer", "secret": %q}`, s.id, password)); err != nil {
		return err
	}
	s.tell("and she logs in, over HTTP:")
	refresh, err := s.token(fmt.Sprintf(`{"id": %q, "secret": %q}`, s.id, password))
	if err != nil {
		return err
	}
	s.tell("Her token is good for five minutes; for the next one she needs no password:")
	if _, err := s.token(fmt.Sprintf(`{"refresh_token": %q}`, refresh)); err != nil {
		return err
	}
	s.tell("A wrong password says only that it is wrong, and a token that is for one thing is not taken for another:")
	if _, err := s.post(http.StatusUnauthorized, "/auth/Token", fmt.Sprintf(`{"id": %q, "secret": "guess"}`, s.id)); err != nil {
		return err
	}
	_, err = s.post(http.StatusBadRequest, "/auth/Token", fmt.Sprintf(`{"refresh_token": %q}`, s.jane.Token))
	return err
}

// token gets her an access token, and returns the token for the next one.
func (s *story) token(body string) (refresh string, err error) {
	answer, err := s.post(http.StatusOK, "/auth/Token", body)
	if err != nil {
		return "", err
	}
	issued, _ := answer["token"].(map[string]any)
	access, _ := issued["access_token"].(string)
	refresh, _ = issued["refresh_token"].(string)
	if access == "" || refresh == "" {
		return "", fmt.Errorf("a login gives no tokens: %v", answer)
	}
	s.jane = s.client.As(access)
	return refresh, nil
}

func (s *story) read() error {
	s.tell("and reads her by her address:")
	answer, err := s.call("customers", "Customers.Read", fmt.Sprintf(`{"email": %q}`, s.email))
	if err != nil {
		return err
	}
	if err := expect(answer, "id", s.id); err != nil {
		return err
	}
	s.tell("She reads herself over HTTP, with her token:")
	if answer, err = s.own(http.StatusOK, "/customers/Read", `{}`); err != nil {
		return err
	}
	return expect(answer, "email", s.email)
}

func (s *story) createAgain() error {
	s.tell("The same address, however it is written, is the same customer:")
	answer, err := s.call("customers", "Customers.Create", fmt.Sprintf(`{"email": %q}`, strings.ToUpper(s.email)))
	if err != nil {
		return err
	}
	return expect(answer, "id", s.id)
}

func (s *story) update() error {
	s.tell("She gives herself her full name:")
	answer, err := s.own(http.StatusOK, "/customers/Update",
		fmt.Sprintf(`{"customer": {"id": %q, "name": "Jane Doe"}, "update_mask": "name"}`, s.id))
	if err != nil {
		return err
	}
	return expect(answer, "name", "Jane Doe")
}

func (s *story) strangers() error {
	s.tell("Nobody else may: not without a token, not about somebody else, not what is an operator's:")
	if _, err := s.post(http.StatusUnauthorized, "/customers/Read", fmt.Sprintf(`{"id": %q}`, s.id)); err != nil {
		return err
	}
	if _, err := s.own(http.StatusForbidden, "/customers/Read", fmt.Sprintf(`{"id": %q}`, uuid.Must(uuid.NewV7()))); err != nil {
		return err
	}
	_, err := s.own(http.StatusForbidden, "/customers/Update",
		fmt.Sprintf(`{"customer": {"id": %q, "status": "active"}, "update_mask": "status"}`, s.id))
	return err
}

func (s *story) list() error {
	s.tell("The operator finds her by the beginning of her address:")
	answer, err := s.call("customers", "Customers.List", fmt.Sprintf(`{"query": %q, "page_size": 10}`, s.email[:17]))
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
	for _, body := range []string{`{"email": "jane@@example.com"}`, `{"email": 5}`, `{"emial": "x"}`} {
		if err := s.refused("customers", "Customers.Create", body, "em"); err != nil {
			return err
		}
	}
	if _, err := s.own(http.StatusBadRequest, "/customers/Update", `{"customer": `); err != nil {
		return err
	}
	return s.refused("customers", "Customers.Read", `{"id": "`+uuid.Nil.String()+`"}`, "there is no such customer")
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
	if _, err := s.call("signup", "Signup.ReadTrack", fmt.Sprintf(`{"id": %q}`, track)); err != nil {
		return err
	}
	_, err := s.own(http.StatusOK, "/usage/ReadMonthlyTotal", fmt.Sprintf(`{"customer_id": %q}`, s.id))
	return err
}

func (s *story) remove() error {
	s.tell("She leaves; her record stays for those who may look:")
	if _, err := s.own(http.StatusOK, "/customers/Delete", fmt.Sprintf(`{"id": %q}`, s.id)); err != nil {
		return err
	}
	answer, err := s.call("customers", "Customers.Read", fmt.Sprintf(`{"id": %q}`, s.id))
	if err != nil {
		return err
	}
	return expect(answer, "status", "inactive")
}
