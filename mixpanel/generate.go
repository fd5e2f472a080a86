package main

// The doubles of what others call here, and of what the handlers call; buf makes the rest from the proto (make generate).
//go:generate go tool -modfile=../tools/go.mod counterfeiter -o proto/fakes/mixpanel_service.go --fake-name FakeMixpanelService ./proto MixpanelService
//go:generate go tool -modfile=../tools/go.mod counterfeiter -o handler/fakes/core.go --fake-name FakeCore ./handler Core
