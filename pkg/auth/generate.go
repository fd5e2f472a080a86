package auth

//go:generate go tool -modfile=../../tools/go.mod counterfeiter -generate

// Micro's own clients of the auth service, for tests of whoever calls it.
//
//counterfeiter:generate -o fakes/auth_service.go github.com/micro/micro/v3/proto/auth.AuthService
//counterfeiter:generate -o fakes/accounts_service.go github.com/micro/micro/v3/proto/auth.AccountsService
