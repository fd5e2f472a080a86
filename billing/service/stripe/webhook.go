package stripe

import (
	"encoding/json"
	stderrors "errors"

	api "github.com/stripe/stripe-go/v72"
	"github.com/stripe/stripe-go/v72/webhook"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/errors"
)

// Signatures checks and reads webhooks.
type Signatures struct{ secrets []string }

var _ service.Signatures = (*Signatures)(nil)

// NewSignatures returns what checks webhooks that are signed with any of the secrets: there are two while one replaces the
// other.
func NewSignatures(secrets []string) (*Signatures, error) {
	if len(secrets) == 0 {
		return nil, stderrors.New("stripe: a signing secret is missing")
	}
	return &Signatures{secrets: secrets}, nil
}

// maxEventID is how many bytes the id of an event may have; Stripe's limit of all ids.
const maxEventID = 255

// Verify implements service.Signatures. A signature is good for five minutes, so that nobody repeats what they have
// overheard.
func (s *Signatures) Verify(body []byte, signature string) (service.WebhookEvent, error) {
	err := webhook.ErrNotSigned
	for _, secret := range s.secrets {
		if err = webhook.ValidatePayload(body, signature, secret); err == nil {
			break
		}
	}
	switch {
	case stderrors.Is(err, webhook.ErrTooOld):
		return service.WebhookEvent{}, errors.Invalid("Stripe-Signature", "must be of the last five minutes")
	case err != nil:
		return service.WebhookEvent{}, errors.Invalid("Stripe-Signature", "must be the signature of the body with a configured secret")
	}
	return parse(body)
}

// object is what is read of the object that an event is about, whatever it is.
type object struct {
	ID            string            `json:"id"`
	Customer      string            `json:"customer"`
	Subscription  string            `json:"subscription"`
	PaymentMethod string            `json:"payment_method"`
	Metadata      map[string]string `json:"metadata"`
}

// parse reads an event that was signed. Of a type that is not known, nothing is read but its id.
func parse(body []byte) (service.WebhookEvent, error) {
	invalid := errors.Invalid("body", "must be an event of Stripe")
	var e api.Event
	if json.Unmarshal(body, &e) != nil || e.ID == "" || len(e.ID) > maxEventID || !isID(e.ID) || e.Type == "" {
		return service.WebhookEvent{}, invalid
	}
	kinds := map[string]service.WebhookKind{
		"customer.subscription.updated": service.WebhookSubscription,
		"customer.subscription.deleted": service.WebhookSubscriptionEnd,
		"invoice.payment_failed":        service.WebhookSubscription,
		"setup_intent.succeeded":        service.WebhookCardAdded,
		"payment_method.attached":       service.WebhookCardAdded,
		"payment_method.detached":       service.WebhookCardRemoved,
	}
	result := service.WebhookEvent{ID: e.ID, Kind: kinds[e.Type]}
	if result.Kind == service.WebhookOther {
		return result, nil
	}
	var o object
	if e.Data == nil || json.Unmarshal(e.Data.Raw, &o) != nil || o.ID == "" {
		return service.WebhookEvent{}, invalid
	}
	result.CustomerID, result.ProvidersCustomer = o.Metadata[customerKey], o.Customer
	switch e.Type {
	case "customer.subscription.updated", "customer.subscription.deleted":
		result.Subscription = o.ID
	case "invoice.payment_failed":
		result.Subscription, result.CustomerID = o.Subscription, "" // the metadata is the invoice's own
	case "payment_method.attached":
		result.CustomerID = ""
	case "payment_method.detached":
		// It is nobody's any more, and says whose it was.
		result.Card, result.CustomerID = o.ID, ""
		result.ProvidersCustomer, _ = e.Data.PreviousAttributes["customer"].(string)
	}
	return result, nil
}

// isID tells whether a text may be an id of Stripe's.
func isID(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}
