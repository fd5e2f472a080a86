// Customers is the system of record for who the customers of the platform are.
package main

import (
	"context"
	"errors"
	"time"

	authpb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/client"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/m3o/backend/customers/handler"
	pb "github.com/m3o/backend/customers/proto"
	core "github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/accounts"
	"github.com/m3o/backend/customers/service/mails"
	"github.com/m3o/backend/customers/service/migrations"
	"github.com/m3o/backend/customers/subscriber"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/sessions"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/service"
	signup "github.com/m3o/backend/signup/proto"
)

const (
	// reconcileEvery is how often others are told what they have not been told, the auth service and by mail; sweepEvery how
	// often old keys and changes of addresses are forgotten.
	reconcileEvery = 5 * time.Second
	sweepEvery     = time.Hour
)

func main() {
	srv := service.New("customers")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	db, err := database.Open("customers", migrations.FS)
	if err != nil {
		return err
	}
	srv.OnStop(db.Close)
	srv.Check("database", db.Ping)
	bus, err := events.Open(srv, db)
	if err != nil {
		return err
	}
	if err := wireCustomers(srv, db, bus); err != nil {
		return err
	}
	return wireKeys(srv, db, bus)
}

func wireCustomers(srv *service.Service, db *database.DB, bus *events.Bus) error {
	known, err := accounts.New(accounts.Config{
		Auth:     authpb.NewAuthService("auth", client.DefaultClient),
		Accounts: authpb.NewAccountsService("auth", client.DefaultClient),
		Sessions: sessions.NewSessionsService("auth", client.DefaultClient),
		Inspect:  auth.InspectShared,
	})
	if err != nil {
		return err
	}
	sender, err := mails.New(signup.NewSignupService("signup", client.DefaultClient))
	if err != nil {
		return err
	}
	customers, err := core.New(core.Config{DB: db, Outbox: bus, Accounts: known, Mails: sender})
	if err != nil {
		return err
	}
	if err := bus.Every("reconcile", reconcileEvery, customers.Reconcile); err != nil {
		return err
	}
	if err := wireErasures(srv, bus, customers); err != nil {
		return err
	}
	if err := bus.Every("mails", reconcileEvery, customers.SendMails); err != nil {
		return err
	}
	if err := bus.Every("changes", sweepEvery, customers.SweepChanges); err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: customers})
	if err != nil {
		return err
	}
	return pb.RegisterCustomersHandler(srv.Server(), h)
}

// wireErasures has erasures finished, and told of.
func wireErasures(srv *service.Service, bus *events.Bus, customers *core.Customers) error {
	reports, err := subscriber.Erasures(customers)
	if err != nil {
		return err
	}
	if err := bus.Consume(reports); err != nil {
		return err
	}
	overdue := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "customers_erasures_overdue", Help: "Erasures of a customer in a service that were asked for more than 24 hours ago.",
	})
	if err := srv.Recorder().Registry().Register(overdue); err != nil {
		return err
	}
	measure := func(ctx context.Context) error {
		n, err := customers.Overdue(ctx)
		if err == nil {
			overdue.Set(float64(n))
		}
		return err
	}
	return errors.Join(
		bus.Every("accounts", reconcileEvery, customers.DeleteAccounts),
		bus.Every("overdue", time.Minute, measure),
		bus.Every("erase", sweepEvery, customers.EraseDeleted),
	)
}

func wireKeys(srv *service.Service, db *database.DB, bus *events.Bus) error {
	keys, err := core.NewKeys(core.KeysConfig{DB: db, Outbox: bus})
	if err != nil {
		return err
	}
	srv.OnStart(keys.Start)
	srv.OnStop(keys.Stop)
	if err := bus.Every("keys", sweepEvery, keys.Sweep); err != nil {
		return err
	}
	h, err := handler.NewKeys(handler.KeysConfig{Core: keys})
	if err != nil {
		return err
	}
	return pb.RegisterKeysHandler(srv.Server(), h)
}
