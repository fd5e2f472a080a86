package main

// The proto is generated from the root of the repository, because every proto is, and before this: make generate. Fakes
// are made of what the proto became.

//go:generate go tool -modfile=../tools/go.mod counterfeiter -generate

//counterfeiter:generate -o proto/fakes/customers_service.go github.com/m3o/backend/customers/proto.CustomersService
//counterfeiter:generate -o proto/fakes/keys_service.go github.com/m3o/backend/customers/proto.KeysService
//counterfeiter:generate -o handler/fakes/core.go github.com/m3o/backend/customers/handler.Core
//counterfeiter:generate -o handler/fakes/key_core.go github.com/m3o/backend/customers/handler.KeyCore
//counterfeiter:generate -o service/fakes/outbox.go github.com/m3o/backend/customers/service.Outbox
//counterfeiter:generate -o service/fakes/accounts.go github.com/m3o/backend/customers/service.Accounts
//counterfeiter:generate -o service/fakes/mails.go github.com/m3o/backend/customers/service.Mails
//counterfeiter:generate -o service/accounts/fakes/sessions_service.go github.com/m3o/backend/pkg/auth/sessions.SessionsService
//counterfeiter:generate -o subscriber/fakes/core.go github.com/m3o/backend/customers/subscriber.Core
