package story

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

func (s *story) signUp() error {
	s.tell("Jane signs up. All that she gives is her address:")
	if _, err := s.post(ok, "/signup/SendVerificationEmail", fmt.Sprintf(`{"email": %q}`, s.email)); err != nil {
		return err
	}
	s.tell("She gets a mail. No mail server is needed to try that: it is a file in %s.", s.client.MailDir())
	token, err := s.mailed()
	if err != nil {
		return err
	}
	s.tell("The token in it proves that the address is hers. A wrong one, or none, does not:")
	complete := func(code int, token string) (map[string]any, error) {
		return s.post(code, "/signup/CompleteSignup", fmt.Sprintf(`{"email": %q, "token": %q, "secret": %q}`, s.email, token, s.password))
	}
	if _, err := complete(http.StatusBadRequest, strings.Repeat("A", len(token))); err != nil {
		return err
	}
	answer, err := complete(ok, token)
	if err != nil {
		return err
	}
	if s.id, err = text(answer, "customerID"); err != nil {
		return err
	}
	if _, err := text(answer, "authToken"); err != nil {
		return err
	}
	s.tell("It is good for one time:")
	if _, err := complete(http.StatusBadRequest, token); err != nil {
		return err
	}
	s.tell("and she is welcomed:")
	return s.eventually(func() error {
		mails, err := s.client.Mails(s.email)
		if err != nil {
			return err
		}
		if len(mails) < 2 {
			return fmt.Errorf("there is no welcome: %w", errNotYet)
		}
		s.show(mails[len(mails)-1].Subject)
		return nil
	})
}

// mailed waits for the newest mail to her that has a token, and returns that.
func (s *story) mailed() (token string, err error) {
	err = s.eventually(func() error {
		mails, err := s.client.Mails(s.email)
		if err != nil {
			return err
		}
		for _, m := range mails {
			if m.Token() != "" {
				token = m.Token()
			}
		}
		if token == "" {
			return fmt.Errorf("there is no mail: %w", errNotYet)
		}
		s.show("Subject: " + mails[len(mails)-1].Subject)
		return nil
	})
	return token, err
}

func (s *story) logIn() error {
	s.tell("She logs in:")
	login := func(code int, body string) (map[string]any, error) { return s.post(code, "/customers/Login", body) }
	answer, err := login(ok, fmt.Sprintf(`{"email": %q, "password": %q}`, s.email, s.password))
	if err != nil {
		return err
	}
	refresh, err := text(answer, "token", "refresh_token")
	if err != nil {
		return err
	}
	s.tell("Her token is good for five minutes; for the next one she needs no password:")
	if answer, err = login(ok, fmt.Sprintf(`{"refresh_token": %q}`, refresh)); err != nil {
		return err
	}
	access, err := text(answer, "token", "access_token")
	if err != nil {
		return err
	}
	s.jane = s.client.As(access)
	s.tell("A wrong password and an address that nobody has get the same answer:")
	if _, err = login(http.StatusUnauthorized, fmt.Sprintf(`{"email": %q, "password": "a wrong guess"}`, s.email)); err != nil {
		return err
	}
	_, err = login(http.StatusUnauthorized, fmt.Sprintf(`{"email": "nobody.%s", "password": "a wrong guess"}`, s.email))
	return err
}

func (s *story) herself() error {
	s.tell("She gives herself her full name, and reads what is known of her:")
	if _, err := s.own(ok, "/customers/Update",
		fmt.Sprintf(`{"customer": {"id": %q, "name": "Jane Doe"}, "update_mask": "name"}`, s.id)); err != nil {
		return err
	}
	answer, err := s.own(ok, "/customers/Read", `{}`)
	if err != nil {
		return err
	}
	if err := expect(answer, "name", "Jane Doe"); err != nil {
		return err
	}
	return expect(answer, "status", "active")
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
		fmt.Sprintf(`{"customer": {"id": %q, "status": "banned"}, "update_mask": "status"}`, s.id))
	return err
}

func (s *story) subscribe() error {
	s.tell("She enters a card, with Stripe, which tells her bank and not us (here stripe-mock stands in for Stripe):")
	if _, err := s.own(ok, "/billing/SetupCard", `{}`); err != nil {
		return err
	}
	answer, err := s.own(ok, "/billing/ListCards", `{}`)
	if err != nil {
		return err
	}
	cards, _ := answer["cards"].([]any)
	if len(cards) == 0 {
		return fmt.Errorf("she has no card: %v", answer)
	}
	first, _ := cards[0].(map[string]any)
	card, err := text(first, "id")
	if err != nil {
		return err
	}
	s.tell("subscribes to the tier pro, once, however often that is said:")
	order := fmt.Sprintf(`{"id": "pro", "card_id": %q, "idempotency_key": %q}`, card, uuid.NewString())
	for range 2 {
		if _, err := s.own(ok, "/billing/SubscribeTier", order); err != nil {
			return err
		}
	}
	s.tell("and is let through at once:")
	return s.becomes(s.keyed, keyHeader, ok, "/v1/weather/Now", `{"place": "Paris"}`)
}

func (s *story) forget() error {
	s.tell("She has forgotten her password. Another mail, another token, another password:")
	if _, err := s.post(ok, "/signup/Recover", fmt.Sprintf(`{"email": %q}`, s.email)); err != nil {
		return err
	}
	before, err := s.client.Mails(s.email)
	if err != nil {
		return err
	}
	token := before[len(before)-1].Token()
	if token == "" {
		return fmt.Errorf("the last mail to her has no token, but says %q", before[len(before)-1].Subject)
	}
	s.password = "another " + s.password
	if _, err := s.post(ok, "/signup/ResetPassword",
		fmt.Sprintf(`{"email": %q, "token": %q, "password": %q}`, s.email, token, s.password)); err != nil {
		return err
	}
	answer, err := s.post(ok, "/customers/Login", fmt.Sprintf(`{"email": %q, "password": %q}`, s.email, s.password))
	if err != nil {
		return err
	}
	access, err := text(answer, "token", "access_token")
	s.jane = s.client.As(access)
	return err
}

func (s *story) leave() error {
	s.tell("She takes her key back, and leaves; her record stays for those who may look:")
	if _, err := s.own(ok, "/customers/Keys/RevokeKey", fmt.Sprintf(`{"id": %q}`, s.keyID)); err != nil {
		return err
	}
	if err := s.becomes(s.keyed, keyHeader, http.StatusUnauthorized, "/v1/weather/Now", `{"place": "Paris"}`); err != nil {
		return err
	}
	if _, err := s.own(ok, "/customers/Delete", `{}`); err != nil {
		return err
	}
	if _, err := s.post(http.StatusUnauthorized, "/customers/Login", fmt.Sprintf(`{"email": %q, "password": %q}`, s.email, s.password)); err != nil {
		return err
	}
	answer, err := s.call("customers", "Customers.Read", fmt.Sprintf(`{"id": %q}`, s.id))
	if err != nil {
		return err
	}
	return expect(answer, "status", "inactive")
}
