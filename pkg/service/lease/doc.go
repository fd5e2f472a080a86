// Package lease has work done once in the whole platform that runs by the clock or goes on all the time: relays, sweeps,
// retention. Of all processes of a service, the one that holds the lease does it. The lease is a row in the service's
// database, so that it takes no other server, and whoever cannot reach the database does not do the work either.
//
//	leases, err := lease.Open(ctx, db)
//	go leases.Run(ctx, "relay", func(ctx context.Context) { ... until ctx ends ... })
//	go leases.Every(ctx, "sweep", time.Hour, func(ctx context.Context) error { ... })
//
// # Who may be wrong, and for how long
//
// A lease lasts for TTL after it was last renewed, by the clock of the database. A holder that stops in an orderly way gives
// it back at once. When a holder dies, nobody does the work for TTL at most.
//
// A holder that cannot renew ends its work before the lease is another's: its context ends after TTL less a margin, by the
// monotonic clock of its machine, counted from before the last renewal that succeeded was asked for. But a process that is
// stopped (SIGSTOP, a machine that sleeps) finds out only after it goes on, and a statement that is on its way may arrive
// late. So two may be at it for a moment, and the work has to be safe to be done twice: a lease saves work, it does not
// replace a transaction. A transaction that must not come too late asks for the lease itself (Check).
//
// When the database's clock is set back, a lease that would last longer than TTL counts as ended.
package lease
