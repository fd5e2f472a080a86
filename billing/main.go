// Billing knows what customers pay, and has them pay it.
package main

import (
	"context"
	"time"

	"github.com/m3o/backend/billing/handler"
	pb "github.com/m3o/backend/billing/proto"
	core "github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/billing/service/migrations"
	"github.com/m3o/backend/billing/service/stripe"
	"github.com/m3o/backend/billing/subscriber"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/erasure"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/service"
)

func main() {
	srv := service.New("billing")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	settings := core.DefaultSettings()
	if err := service.Config("micro.billing", &settings); err != nil {
		return err
	}
	db, err := database.Open("billing", migrations.FS)
	if err != nil {
		return err
	}
	srv.OnStop(db.Close)
	srv.Check("database", db.Ping)
	bus, err := events.Open(srv, db)
	if err != nil {
		return err
	}
	config := core.Config{Settings: settings, DB: db, Outbox: bus}
	if err := provider(settings.Stripe, &config); err != nil {
		return err
	}
	billing, err := core.New(config)
	if err != nil {
		return err
	}
	customers, err := subscriber.Customers(billing)
	if err != nil {
		return err
	}
	erased, err := erasure.Open(db, bus, func(ctx context.Context, tx database.Querier, c erasure.Customer) (bool, error) {
		return billing.Erase(ctx, tx, c.ID)
	})
	if err != nil {
		return err
	}
	if err := bus.Consume(erased.Guard(customers)); err != nil {
		return err
	}
	finish := func(ctx context.Context) error { return billing.FinishErasures(ctx, erased.Done) }
	if err := bus.Every("erase", 10*time.Second, finish); err != nil {
		return err
	}
	if err := bus.Every("resume", 10*time.Second, billing.Resume); err != nil {
		return err
	}
	if err := bus.Every("periods", 10*time.Minute, billing.EndPeriods); err != nil {
		return err
	}
	if err := bus.Every("sweep", time.Hour, billing.Sweep); err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: billing})
	if err != nil {
		return err
	}
	return pb.RegisterBillingHandler(srv.Server(), h)
}

// provider adds the payment provider: Stripe, if the operator has an account there, or else what stands in for it, if
// anything does.
func provider(settings core.StripeSettings, config *core.Config) error {
	at := stripe.Config{Key: settings.APIKey, Base: settings.APIBase}
	if standIn := service.StandIn("stripe"); at.Key == "" && standIn != "" {
		at, config.StandIn = stripe.Config{Key: stripe.StandInKey, Base: standIn}, true
	}
	if at.Key != "" {
		payments, err := stripe.New(at)
		if err != nil {
			return err
		}
		config.Payments = payments
	}
	if len(settings.SigningSecrets) > 0 {
		signatures, err := stripe.NewSignatures(settings.SigningSecrets)
		if err != nil {
			return err
		}
		config.Signatures = signatures
	}
	return nil
}
