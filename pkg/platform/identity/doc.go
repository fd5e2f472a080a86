// Package identity is the auth service: who has an account, who is logged in, and what each of them is given. It answers
// Micro's own RPCs (Auth and Accounts) and those of pkg/auth/sessions in place of Micro's handlers, which give out access
// tokens for as long as anybody asks, and cannot take anything back.
//
// # What it gives out
//
// Whoever logs in gets an access token (pkg/auth/token), good for five minutes at most, and a refresh token, which is a
// secret that only the hash of is kept. Each refresh token is good for one refresh, which answers with another; all that
// come from one log-in are a session, which ends after 30 days. The platform's own parts and services have no session:
// their secrets are derived, and they log in again.
//
// # Who may do what
//
// The interceptor has let a call through by the policy of its RPC; here is what depends on the account it is about. An
// admin may do everything, but for making accounts of the type service, which nobody can: those are derived. The services
// that manage customers may make, change, block and delete customers' accounts, and no others. An owner may change the
// secret, and has to know it. A refused call has changed nothing.
//
// # What is stored
//
//	account/micro/<id>          the account, with the bcrypt hash of its secret and its epoch
//	accountByName/micro/<name>  the id of the account that logs in by that name, too
//	session/<id>                a session: the epoch of its account, and the hashes of its refresh tokens
//
// Micro's handlers use the same keys for the first two, so that accounts that they have made are known here.
//
// One record decides, and is written in one write; the others are written around it so that a crash, or a store that
// fails, between any two leaves nothing by halves. An account is made by its own record, after its name's: a name without
// its account is free. It is deleted by its own record, before anything else of it. Sessions count only while their
// account has the epoch that they were begun in: the write that changes the secret, or blocks the account, changes the
// epoch, and ends all of them. What is left over afterwards is removed as far as possible, and harmless.
//
// # Who may be wrong, and for how long
//
// An access token stays good until it expires, also of an account that was deleted, blocked or logged out meanwhile:
// five minutes at most (token.MaxAccess). No new one is given out from that moment on.
//
// A refresh token that was used is taken once more for 10 seconds, because two commands at once may share one. Whoever
// steals one can use it in that time unnoticed. After it, the second use of a token ends its session: the thief and the
// owner have both had it, and cannot be told apart. A caller that has not got the answer to its refresh, and comes
// back later than that, has to log in again.
//
// Failed attempts are counted in the memory of this process, and forgotten when it restarts. Whoever knows an account's
// id can keep its owner from logging in by failing on purpose, one attempt in 30 seconds; sessions that there are go on.
// Everybody behind one address shares its attempts. A call's address is what the platform's doors say it is. The
// attempts counted may exceed the limit by as many as secrets are checked at once, one for each processor.
//
// There is one process of this service: locks are in its memory. Two at once could give out one name twice, or take
// one refresh token twice; neither could undo that an account was deleted.
package identity
