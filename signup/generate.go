package main

// The proto is generated from the root of the repository, because every proto is, and before this: make generate. Fakes
// are made of what the proto became.

//go:generate go tool -modfile=../tools/go.mod counterfeiter -generate

//counterfeiter:generate -o proto/fakes/signup_service.go github.com/m3o/backend/signup/proto.SignupService
//counterfeiter:generate -o handler/fakes/core.go github.com/m3o/backend/signup/handler.Core
//counterfeiter:generate -o subscriber/fakes/core.go github.com/m3o/backend/signup/subscriber.Core
//counterfeiter:generate -o service/fakes/outbox.go github.com/m3o/backend/signup/service.Outbox
//counterfeiter:generate -o service/fakes/mailer.go github.com/m3o/backend/signup/service.Mailer
