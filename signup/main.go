// Signup is how somebody becomes a customer.
package main

import (
	"cmp"
	"context"
	"time"

	auth "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/logger"

	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/erasure"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/signup/handler"
	"github.com/m3o/backend/signup/mail"
	pb "github.com/m3o/backend/signup/proto"
	core "github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/migrations"
	"github.com/m3o/backend/signup/subscriber"
)

func main() {
	srv := service.New("signup")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	settings := core.DefaultSettings()
	if err := service.Config("micro.signup", &settings); err != nil {
		return err
	}
	mailer, err := mailerOf(srv, settings.Email)
	if err != nil {
		return err
	}
	db, err := database.Open("signup", migrations.FS)
	if err != nil {
		return err
	}
	srv.OnStop(db.Close)
	srv.Check("database", db.Ping)
	bus, err := events.Open(srv, db)
	if err != nil {
		return err
	}
	signup, err := core.New(core.Config{
		DB: db, Outbox: bus, Mailer: mailer, Settings: settings,
		Customers: customers.NewCustomersService("customers", client.DefaultClient),
		Auth:      auth.NewAuthService("auth", client.DefaultClient),
		Accounts:  auth.NewAccountsService("auth", client.DefaultClient),
	})
	if err != nil {
		return err
	}
	welcomes, err := subscriber.Customers(signup)
	if err != nil {
		return err
	}
	erased, err := erasure.Open(db, bus, func(ctx context.Context, tx database.Querier, c erasure.Customer) (bool, error) {
		return true, signup.Erase(ctx, tx, c.ID, c.Email)
	})
	if err != nil {
		return err
	}
	if err := bus.Consume(erased.Guard(welcomes)); err != nil {
		return err
	}
	if err := bus.Every("welcomes", time.Second, signup.SendWelcomes); err != nil {
		return err
	}
	if err := bus.Every("sweep", time.Hour, signup.Sweep); err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: signup})
	if err != nil {
		return err
	}
	return pb.RegisterSignupHandler(srv.Server(), h)
}

// mailerOf returns what sends the mails, as it is configured.
func mailerOf(srv *service.Service, settings core.EmailSettings) (core.Mailer, error) {
	if settings.SMTP != nil {
		return mail.NewSMTP(mail.SMTPConfig{Settings: *settings.SMTP, From: settings.From})
	}
	dir := cmp.Or(settings.Outbox, srv.Directory("mail"))
	logger.Infof("No SMTP server is configured: mails are put into %s", dir)
	return mail.NewOutbox(dir, settings.From)
}
