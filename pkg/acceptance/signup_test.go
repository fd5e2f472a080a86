package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/acceptance/client"
)

// mail waits for a mail, the newest of its subject.
func (p *platform) mail(t *testing.T, to, subject string) client.Mail {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	m, err := p.Mail(ctx, to, subject)
	require.NoError(t, err)
	return m
}

// post makes a call over HTTP that is to have a code.
func (p *platform) post(t *testing.T, code int, path, body string) map[string]any {
	t.Helper()
	a, err := p.Post(t.Context(), path, body)
	require.NoError(t, err)
	require.Equal(t, code, a.Code, "%s %s: %s", path, body, a.Body)
	return a.Fields()
}

func completion(email, token, secret string) string {
	return fmt.Sprintf(`{"email": %q, "token": %q, "secret": %q}`, email, token, secret)
}

func newPassword(email, token, password string) string {
	return fmt.Sprintf(`{"email": %q, "token": %q, "password": %q}`, email, token, password)
}

// From an address to a password and to another one, as somebody does who has nothing but a browser and a mailbox.
func TestSignup(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers", "signup")
	const jane, joe = "jane@example.com", "joe@example.com"
	ask := func(rpc, email string) { p.post(t, http.StatusOK, "/signup/"+rpc, fmt.Sprintf(`{"email": %q}`, email)) }
	notGood := func(path, body string) {
		t.Helper()
		require.Equal(t, "token: is not good, or not any more: ask for another one", p.post(t, http.StatusBadRequest, path, body)["detail"])
	}

	ask("SendVerificationEmail", jane)
	ask("SendVerificationEmail", joe)
	janes, joes := p.mail(t, jane, "Confirm your address").Token(), p.mail(t, joe, "Confirm your address").Token()
	notGood("/signup/CompleteSignup", completion(jane, joes, password))
	notGood("/signup/CompleteSignup", completion(joe, janes, password))
	notGood("/signup/ResetPassword", newPassword(jane, janes, password))
	p.post(t, http.StatusBadRequest, "/signup/CompleteSignup", completion(jane, janes, "short"))
	session := p.post(t, http.StatusOK, "/signup/CompleteSignup", completion("JANE@example.com", janes, password))
	require.Equal(t, "micro", session["namespace"])
	access, _ := session["authToken"].(string)
	require.Equal(t, http.StatusOK, read(t, p.As(access)), "she is logged in")
	rsp, err := customers.NewCustomersService("customers", p.admin(t)).Read(t.Context(), &customers.ReadRequest{Email: jane})
	require.NoError(t, err)
	require.Equal(t, session["customerID"], rsp.Customer.Id)
	require.Equal(t, "active", rsp.Customer.Status)
	notGood("/signup/CompleteSignup", completion(jane, janes, "another horse"))
	code, first, answer := logIn(t, p.Client, byPassword(jane, password))
	require.Equal(t, http.StatusOK, code, answer)
	p.mail(t, jane, "Welcome")

	// Whoever asks again learns nothing, and she does.
	ask("SendVerificationEmail", jane)
	p.mail(t, jane, "You have an account already")
	ask("Recover", joe)
	p.mail(t, joe, "Your signup is not complete")
	ask("Recover", "nobody@example.com")
	p.mail(t, "nobody@example.com", "There is no account with this address")

	// Another password ends what was begun with the one before.
	ask("Recover", jane)
	reset := p.mail(t, jane, "Choose another password").Token()
	notGood("/signup/ResetPassword", newPassword(joe, reset, "another horse"))
	notGood("/signup/CompleteSignup", completion(jane, reset, "another horse"))
	p.post(t, http.StatusOK, "/signup/ResetPassword", newPassword(jane, reset, "another horse"))
	notGood("/signup/ResetPassword", newPassword(jane, reset, "a third horse"))
	code, _, answer = logIn(t, p.Client, byRefresh(first.Refresh))
	require.Equal(t, http.StatusUnauthorized, code, answer)
	code, _, answer = logIn(t, p.Client, byPassword(jane, password))
	require.Equal(t, http.StatusUnauthorized, code, answer)
	code, _, answer = logIn(t, p.Client, byPassword(jane, "another horse"))
	require.Equal(t, http.StatusOK, code, answer)

	// Who is banned is told by mail, and what they had to sign up with is no use.
	_, err = customers.NewCustomersService("customers", p.admin(t)).Ban(t.Context(), &customers.BanRequest{Email: joe})
	require.NoError(t, err)
	p.post(t, http.StatusForbidden, "/signup/CompleteSignup", completion(joe, joes, password))
	ask("SendVerificationEmail", joe)
	p.mail(t, joe, "This address cannot be used")

	mails, err := p.Mails(jane)
	require.NoError(t, err)
	require.Len(t, mails, 4, "one welcome, and one for each time that she was asked for")
}

// signUp signs somebody up, again and again until it is done: whatever has become of a call, the same once more goes on from
// there, and who has got no answer to the last one is told that the token is used and logs in.
func (p *platform) signUp(ctx context.Context, email string) error {
	if err := p.until(ctx, "/signup/SendVerificationEmail", fmt.Sprintf(`{"email": %q}`, email)); err != nil {
		return err
	}
	for {
		m, err := p.Mail(ctx, email, "Confirm your address")
		if err != nil {
			return err
		}
		err = p.until(ctx, "/signup/CompleteSignup", completion(email, m.Token(), password))
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := p.until(ctx, "/customers/Login", byPassword(email, password)); err == nil {
			return nil
		}
		// A mail that was sent while its sender was killed has been replaced by a newer one.
	}
}

var errRefused = errors.New("refused")

// until makes a call until it is answered for good.
func (p *platform) until(ctx context.Context, path, body string) error {
	for range every(ctx, 50*time.Millisecond) {
		a, err := p.Post(ctx, path, body)
		switch {
		case err != nil, a.Code >= 500, a.Code == http.StatusConflict, a.Code == http.StatusRequestTimeout, a.Code == http.StatusTooManyRequests:
		case a.Code == http.StatusOK:
			return nil
		default:
			return fmt.Errorf("%s: %w with %d: %s", path, errRefused, a.Code, a.Body)
		}
	}
	return ctx.Err()
}

// Whatever is killed while people sign up: each of them becomes a customer who can log in, and is welcomed once.
func TestSignupSurvivesKills(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers", "signup")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var people []string
	var wg sync.WaitGroup
	errs := make(chan error, 10)
	for i := range cap(errs) {
		email := fmt.Sprintf("person.%d@example.com", i)
		people = append(people, email)
		wg.Go(func() { errs <- p.signUp(ctx, email) })
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	kills := 0
	for i := range every(ctx, 700*time.Millisecond) {
		select {
		case <-done:
		default:
			if i < 6 {
				if pids := p.binaries(); len(pids) > 0 {
					_ = syscall.Kill(pids[i%len(pids)].pid, syscall.SIGKILL) // it may have ended by itself meanwhile
					kills++
				}
			}
			continue
		}
		break
	}
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	for _, email := range people {
		p.mail(t, email, "Welcome")
		code, _, answer := logIn(t, p.Client, byPassword(email, password))
		require.Equal(t, http.StatusOK, code, answer)
	}
	for _, email := range people {
		mails, err := p.Mails(email)
		require.NoError(t, err)
		welcomes := 0
		for _, m := range mails {
			if m.Subject == "Welcome" {
				welcomes++
			}
		}
		require.Equal(t, 1, welcomes, email)
	}
	t.Logf("%d people signed up, %d processes killed meanwhile", len(people), kills)
}
