package service

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/address"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// SendVerificationEmail sends a mail to an address, with a token if somebody can sign up with it. Whoever calls does not learn
// whether there is an account: the mail says so, to whom the address belongs.
func (s *Signup) SendVerificationEmail(ctx context.Context, email string) error {
	if err := s.callers.count(ctx, s.now()); err != nil {
		return err
	}
	a, err := address.Parse("email", email)
	if err != nil {
		return err
	}
	if !s.domains.admit(a.Domain()) {
		return errors.Forbidden("addresses of this domain cannot sign up here: take another one, or ask the operator of the platform")
	}
	found, err := s.remote.create(ctx, a.Text)
	if err != nil {
		return err
	}
	kind := KindVerify
	switch found.status {
	case statusActive:
		kind = KindExists
	case statusBanned, statusInactive:
		kind = KindUnusable
	}
	return s.send(ctx, a, found, forVerification, kind)
}

// Recover sends a mail to an address, with a token if there is an account whose password can be chosen anew.
func (s *Signup) Recover(ctx context.Context, email string) error {
	if err := s.callers.count(ctx, s.now()); err != nil {
		return err
	}
	a, err := address.Parse("email", email)
	if err != nil {
		return err
	}
	found, err := s.remote.read(ctx, a.Text)
	if err != nil {
		return err
	}
	kind := KindIncomplete
	switch found.status {
	case "":
		kind = KindUnknown
	case statusActive:
		kind = KindReset
	case statusBanned, statusInactive:
		kind = KindUnusable
	}
	return s.send(ctx, a, found, forReset, kind)
}

// send sends a mail of a kind, unless there were too many to the address, or somebody is using the token of the last one. It does the same for each kind, so that the time it
// takes tells nothing: where there is no token to send, that none is good is kept as one would be.
func (s *Signup) send(ctx context.Context, a address.Address, found customer, p purpose, kind Kind) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	now, token := s.now(), newToken()
	kept := newest{address: keyOf(a), purpose: p, expires: now.Add(s.settings.Token.TTL)}
	if kind.hasToken() {
		kept.hash, kept.customer = p.hash(a.Key, token), found.id
	}
	allowed := false
	err = s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) (err error) {
		// Without a mail the token of the last one stays good: nobody else has it.
		allowed, err = countMail(ctx, tx, kept.address, now, s.settings.MailsPerHour)
		if err != nil || !allowed {
			return err
		}
		if allowed, err = replaceToken(ctx, tx, kept, now); err != nil || allowed {
			return err
		}
		return uncountMail(ctx, tx, kept.address, mailTime(now))
	})
	if err != nil {
		return fmt.Errorf("keep a token: %w", err)
	}
	if !allowed {
		return nil
	}
	// To the address as its owner has written it: to whoever calls, another one may look the same.
	to := a.Text
	if found.email != "" {
		to = found.email
	}
	m, err := s.render(kind, content{To: to, Token: token})
	if err != nil {
		return err
	}
	m.ID, m.To, m.Date = id.String(), to, now
	if err := s.mailer.Send(ctx, m); err != nil {
		return s.notSent(ctx, kept.address, mailTime(now), err)
	}
	return nil
}

// notSent makes an error for the caller of why a mail was not sent, which does not count then.
func (s *Signup) notSent(ctx context.Context, key, at string, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyFor)
	defer cancel()
	err := s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error { return uncountMail(ctx, tx, key, at) })
	if err != nil {
		logger.Warnf("A mail counts that was not sent: %v", err)
	}
	if errors.Permanent(why) {
		return errors.Invalid("email", "mail to this address is refused: check it").WithCause(why)
	}
	logger.Errorf("A mail was not sent: %v", why)
	return errors.Unavailable("mail cannot be sent at the moment: try again in a few minutes").WithCause(why)
}
