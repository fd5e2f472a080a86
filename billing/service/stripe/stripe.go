// Package stripe is how billing speaks to Stripe, and to what stands in for it. It knows Stripe's API and its errors, and
// nothing of tiers or accounts.
//
// What fails on the way, or because Stripe has too much to do, is Unavailable: nobody knows then whether it was done, and the
// same call has to be made again. So is what Stripe does not let the operator do, with service.ErrNoAccess as the cause. Stripe answers a call whose key it knows as it did the first
// time, for a day. Nothing that Stripe says of an error in words is passed on or logged: it may repeat what it was sent.
package stripe

import (
	"context"
	stderrors "errors"
	"fmt"
	"net"
	"net/http"
	"time"

	api "github.com/stripe/stripe-go/v72"
	"github.com/stripe/stripe-go/v72/client"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/errors"
)

const (
	// timeout is how long Stripe may take to answer: charging a card takes it seconds.
	timeout = 20 * time.Second
	// retries is how often a call that has failed on the way is made again at once, with the same key.
	retries = 2
	// maxCards is how many cards are asked for.
	maxCards = 100
	// StandInKey is the key that stripe-mock takes.
	StandInKey = "sk_test_123"
)

// Names of what Stripe remembers for us.
const (
	customerKey  = "customer_id"
	operationKey = "operation"
)

// Config is what New needs.
type Config struct {
	// Key is the secret key of an account.
	Key string
	// Base is where Stripe is; empty for Stripe's own address.
	Base string
}

// Stripe is the payment provider. It may be used by many goroutines at once.
type Stripe struct{ api *client.API }

var _ service.Payments = (*Stripe)(nil)

// New returns the payment provider of an account.
func New(cfg Config) (*Stripe, error) {
	if cfg.Key == "" {
		return nil, stderrors.New("stripe: a key is missing")
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: timeout,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   16,
		MaxConnsPerHost:       64,
	}
	backend := func(kind api.SupportedBackend) api.Backend {
		c := &api.BackendConfig{
			// It would log what it was sent, and report how long Stripe took.
			LeveledLogger:     &api.LeveledLogger{Level: api.LevelNull},
			EnableTelemetry:   api.Bool(false),
			HTTPClient:        &http.Client{Transport: transport, Timeout: timeout},
			MaxNetworkRetries: api.Int64(retries),
		}
		if cfg.Base != "" {
			c.URL = api.String(cfg.Base)
		}
		return api.GetBackendWithConfig(kind, c)
	}
	return &Stripe{api: client.New(cfg.Key, &api.Backends{
		API: backend(api.APIBackend), Connect: backend(api.ConnectBackend), Uploads: backend(api.UploadsBackend),
	})}, nil
}

// keyed are the parameters of a call that changes something.
func keyed(ctx context.Context, key string) api.Params {
	return api.Params{Context: ctx, IdempotencyKey: api.String(key)}
}

// CreateCustomer implements service.Payments. Stripe learns our id of the customer and nothing else.
func (s *Stripe) CreateCustomer(ctx context.Context, customerID, key string) (string, error) {
	params := &api.CustomerParams{Params: keyed(ctx, key)}
	params.AddMetadata(customerKey, customerID)
	c, err := s.api.Customers.New(params)
	if err != nil {
		return "", translate(err)
	}
	return c.ID, nil
}

// DeleteCustomer implements service.Payments.
func (s *Stripe) DeleteCustomer(ctx context.Context, stripeCustomer, key string) error {
	_, err := s.api.Customers.Del(stripeCustomer, &api.CustomerParams{Params: keyed(ctx, key)})
	if e, ok := stderrors.AsType[*api.Error](err); ok && e.HTTPStatusCode == http.StatusNotFound {
		return nil
	}
	return translate(err)
}

// CreateSetup implements service.Payments.
func (s *Stripe) CreateSetup(ctx context.Context, stripeCustomer, customerID, key string) (string, error) {
	params := &api.SetupIntentParams{
		Params: keyed(ctx, key), Customer: api.String(stripeCustomer), Usage: api.String("off_session"),
		PaymentMethodTypes: []*string{api.String("card")},
	}
	params.AddMetadata(customerKey, customerID)
	setup, err := s.api.SetupIntents.New(params)
	if err != nil {
		return "", translate(err)
	}
	return setup.ClientSecret, nil
}

// Cards implements service.Payments.
func (s *Stripe) Cards(ctx context.Context, stripeCustomer string) ([]service.Card, error) {
	list := s.api.PaymentMethods.List(&api.PaymentMethodListParams{
		ListParams: api.ListParams{Context: ctx, Limit: api.Int64(maxCards), Single: true},
		Customer:   api.String(stripeCustomer), Type: api.String("card"),
	})
	var cards []service.Card
	for list.Next() {
		if c := list.PaymentMethod(); c.Card != nil {
			cards = append(cards, service.Card{
				ID: c.ID, Brand: string(c.Card.Brand), Last4: c.Card.Last4,
				ExpMonth: int(c.Card.ExpMonth), ExpYear: int(c.Card.ExpYear),
			})
		}
	}
	return cards, translate(list.Err())
}

// DetachCard implements service.Payments.
func (s *Stripe) DetachCard(ctx context.Context, card, key string) error {
	params := &api.PaymentMethodDetachParams{Params: keyed(ctx, key)}
	_, err := s.api.PaymentMethods.Detach(card, params)
	if e, ok := stderrors.AsType[*api.Error](err); ok && e.Type == api.ErrorTypeInvalidRequest &&
		(e.HTTPStatusCode == http.StatusBadRequest || e.HTTPStatusCode == http.StatusNotFound) {
		return nil // nobody has it: there is nothing else in the call that could be wrong
	}
	return translate(err)
}

// Subscribe implements service.Payments. A card that cannot be charged at once, or only with its owner's help, is declined.
func (s *Stripe) Subscribe(ctx context.Context, n service.NewSubscription, key string) (service.Subscription, error) {
	params := &api.SubscriptionParams{
		Params: keyed(ctx, key), Customer: api.String(n.ProvidersCustomer), DefaultPaymentMethod: api.String(n.Card),
		Items:           []*api.SubscriptionItemsParams{{Price: api.String(n.PriceID)}},
		PaymentBehavior: api.String(string(api.SubscriptionPaymentBehaviorErrorIfIncomplete)), OffSession: api.Bool(true),
	}
	params.AddMetadata(customerKey, n.CustomerID)
	params.AddMetadata(operationKey, n.Operation)
	return subscription(s.api.Subscriptions.New(params))
}

// FindSubscription implements service.Payments.
func (s *Stripe) FindSubscription(ctx context.Context, stripeCustomer, operation string) (service.Subscription, error) {
	list := s.api.Subscriptions.List(&api.SubscriptionListParams{
		ListParams: api.ListParams{Context: ctx, Limit: api.Int64(100)}, Customer: stripeCustomer, Status: "all",
	})
	for list.Next() {
		if found := list.Subscription(); found.Metadata[operationKey] == operation {
			return subscription(found, nil)
		}
	}
	return service.Subscription{}, translate(list.Err())
}

// ChangeSubscription implements service.Payments. A subscription of ours has one item.
func (s *Stripe) ChangeSubscription(ctx context.Context, id string, c service.SubscriptionChange, key string) (service.Subscription, error) {
	current, err := s.api.Subscriptions.Get(id, &api.SubscriptionParams{Params: api.Params{Context: ctx}})
	if err != nil {
		return service.Subscription{}, translate(err)
	}
	if statusOf(current.Status) == service.Ended || current.Items == nil || len(current.Items.Data) == 0 {
		return service.Subscription{}, errors.NotFound("subscription", "it has ended")
	}
	params := &api.SubscriptionParams{
		Params: keyed(ctx, key), DefaultPaymentMethod: api.String(c.Card), CancelAtPeriodEnd: api.Bool(false),
		Items:           []*api.SubscriptionItemsParams{{ID: api.String(current.Items.Data[0].ID), Price: api.String(c.PriceID)}},
		PaymentBehavior: api.String(string(api.SubscriptionPaymentBehaviorErrorIfIncomplete)), OffSession: api.Bool(true),
	}
	params.AddMetadata(operationKey, c.Operation)
	return subscription(s.api.Subscriptions.Update(id, params))
}

// CancelAtPeriodEnd implements service.Payments.
func (s *Stripe) CancelAtPeriodEnd(ctx context.Context, id, key string) (service.Subscription, error) {
	return subscription(s.api.Subscriptions.Update(id, &api.SubscriptionParams{Params: keyed(ctx, key), CancelAtPeriodEnd: api.Bool(true)}))
}

// CancelSubscription implements service.Payments.
func (s *Stripe) CancelSubscription(ctx context.Context, id, key string) error {
	_, err := s.api.Subscriptions.Cancel(id, &api.SubscriptionCancelParams{Params: keyed(ctx, key)})
	return translate(err)
}

// Subscription implements service.Payments.
func (s *Stripe) Subscription(ctx context.Context, id string) (service.Subscription, error) {
	return subscription(s.api.Subscriptions.Get(id, &api.SubscriptionParams{Params: api.Params{Context: ctx}}))
}

// subscription translates what Stripe answers.
func subscription(s *api.Subscription, err error) (service.Subscription, error) {
	if err != nil {
		return service.Subscription{}, translate(err)
	}
	result := service.Subscription{ID: s.ID, Status: statusOf(s.Status), CancelAtPeriodEnd: s.CancelAtPeriodEnd}
	if s.CurrentPeriodEnd != 0 {
		result.PeriodEnd = time.Unix(s.CurrentPeriodEnd, 0).UTC()
	}
	if s.Items != nil && len(s.Items.Data) > 0 && s.Items.Data[0].Price != nil {
		result.PriceID = s.Items.Data[0].Price.ID
	}
	return result, nil
}

// statusOf translates Stripe's statuses. One that is unpaid is not charged any more and is alive all the same: its owner has it
// until it is cancelled, and can pay for it with another card. Were it taken for ended, there would be a second one beside it.
func statusOf(s api.SubscriptionStatus) service.Status {
	switch s {
	case api.SubscriptionStatusActive, api.SubscriptionStatusTrialing:
		return service.Active
	case api.SubscriptionStatusCanceled, api.SubscriptionStatusIncompleteExpired:
		return service.Ended
	default:
		return service.PastDue
	}
}

// translate makes an error of the house of one of Stripe's.
func translate(err error) error {
	if err == nil {
		return nil
	}
	e, ok := stderrors.AsType[*api.Error](err)
	if !ok {
		// Of the way: it may name an address, and never what was sent.
		return away().WithCause(fmt.Errorf("speak to Stripe: %w", err))
	}
	cause := fmt.Errorf("Stripe: status %d, type %s, code %s, request %s",
		e.HTTPStatusCode, word(string(e.Type)), word(string(e.Code)), word(e.RequestID))
	switch {
	case e.Type == api.ErrorTypeCard || e.HTTPStatusCode == http.StatusPaymentRequired:
		return errors.PaymentRequired("the card was declined: use another one").WithCause(cause)
	case e.Code == api.ErrorCodeResourceMissing && (e.Param == "default_payment_method" || e.Param == "payment_method"):
		return errors.NotFound("card_id", "there is no such card").WithCause(cause)
	case e.Code == api.ErrorCodeResourceMissing && (e.Param == "id" || e.Param == "subscription"):
		return errors.NotFound("subscription", "it has ended").WithCause(cause)
	case e.HTTPStatusCode == http.StatusUnauthorized, e.HTTPStatusCode == http.StatusForbidden:
		return away().WithCause(fmt.Errorf("%w: %w", service.ErrNoAccess, cause))
	case e.HTTPStatusCode == 0, e.HTTPStatusCode >= 500, e.HTTPStatusCode == http.StatusTooManyRequests,
		e.HTTPStatusCode == http.StatusConflict:
		return away().WithCause(cause)
	default:
		return cause
	}
}

func away() *errors.Error {
	return errors.Unavailable("the payment provider does not answer: call again, with the same idempotency_key if there is one")
}

// word is a text of Stripe's if it is a name, which is known to repeat nothing.
func word(s string) string {
	if len(s) > 64 {
		return "-"
	}
	for i := range len(s) {
		if c := s[i]; c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return "-"
		}
	}
	return s
}
