package main

// The proto is generated from the root of the repository, because every proto is, and before this: make generate. Fakes
// are made of what the proto became.

//go:generate go tool -modfile=../tools/go.mod counterfeiter -generate

//counterfeiter:generate -o proto/fakes/billing_service.go github.com/m3o/backend/billing/proto.BillingService
//counterfeiter:generate -o handler/fakes/core.go github.com/m3o/backend/billing/handler.Core
//counterfeiter:generate -o service/fakes/outbox.go github.com/m3o/backend/billing/service.Outbox
//counterfeiter:generate -o service/fakes/payments.go github.com/m3o/backend/billing/service.Payments
//counterfeiter:generate -o service/fakes/signatures.go github.com/m3o/backend/billing/service.Signatures
//counterfeiter:generate -o subscriber/fakes/core.go github.com/m3o/backend/billing/subscriber.Core
