// Package gateway lets customers call what is sold with an API key: it finds out for a call whose key it is, whether it is for
// the endpoint, and whether there is any of the rate and the quota left, and counts the call when the service has answered. It
// runs in the process of the HTTP API, which makes the call:
//
//	call, err := g.Admit(r.Context(), r.URL.EscapedPath(), r.Header) // 401, 403, 404, 429 or 503
//	defer call.Release()
//	// call call.Endpoint of call.Service with call.Token, as call.Customer
//	err = call.Count(status) // before the answer is given
//
// # Guarantees
//
// A call whose caller has an answer below 500 is counted, once, and any other is not: neither what never reached the service,
// nor what it answered with 500 or more, nor what it did not answer at all. A call is written to a file (package journal)
// before its caller has the answer, and the file is deleted when usage has recorded it; so neither the death of this
// process, however sudden, nor that of usage, for however long, loses one. One that cannot be written down is answered with
// 503 although the service has done its work.
//
// What was written down is told to usage in batches, again and again until it says that it has it. Usage counts each request's
// id once, whoever tells it, so that an answer which gets lost counts nothing twice. Calls that it refuses because they are in
// the future, since a clock is ahead or was, are counted at the latest time that it takes. What it refuses for good (400) is
// written to the file set-aside.jsonl in the state directory, beside whatever of the journal cannot be read, is
// reported in the log and in a metric, and keeps nothing else from being counted.
//
// The key itself does not get to the service, to a log or to a file. The service that is called sees the customer as its
// caller. What it is called with is good for calls of itself and of nothing else.
//
// Whoever calls an endpoint that has its own policy gateway, or is public, is let through by the service; the endpoints of
// customers and operators are not for keys, whatever the catalogue says (404).
//
// # Who may be wrong, and for how long
//
// Whatever other services say is remembered. For a second it is used as it is, for another one while it is asked for anew, and
// then a call waits for a new answer. So a key that was revoked or blocked, a customer who was banned, an endpoint that was
// taken out of the catalogue and a tier with a lower rate are still good for two seconds at most; a key that is made is good at once, and
// one that was tried before it was made, or is good again, after a second. What was asked for later than it is now, by a clock
// that was set back, is asked for anew at once.
//
// While customers does not answer, keys that are known are good for a minute more, also those that are revoked meanwhile, and
// others are answered with 503. While billing does not answer, the catalogue and the tiers stay as they were last known, and
// while usage does not, so do the customers' tiers and quotas, of which this process goes on counting for itself; for as long
// as it takes. What this process has never known is 503. The gateway's own token for a service is good for four minutes and a
// half without the auth service; one that the service does not take (Call.Rejected), as after a clock was set, is replaced, once
// a second at most.
//
// What a customer has used of the quota is the larger of what usage says and what it said first, plus what this process has let
// through since. With one gateway that is exact. Another one's calls are known when usage has counted them: with several, what
// they let through within about three seconds may go beyond the quota, and so may, after a restart, what the process before
// had let through and usage had not counted yet. Calls beyond it are counted as well. Of a customer who has used the quota
// up usage is asked five times a second at most before a call is refused, so that another tier counts at once.
//
// A month is one of UTC by this machine's clock; a call is of the month that it was let through in, unless that is still to come
// when usage is told of it. When the clock is set back over the month's end, what was counted of the month that it is in again
// still counts; of a customer whom this process has seen in the other one only, that is known when usage was asked, which is
// two seconds later at most while it answers. While the clock of usage is
// still in the month before, customers who had used that one's quota up may be refused.
//
// The rate is each gateway's own: with two of them it is twice as much. A tier that billing does not list has the lowest rate of
// those that it does.
//
// When the process dies between the answer of the service and the write, the call is not counted, and its caller has no
// answer. A caller who goes away while the service works gets none either, and is not counted. When it dies between the write
// and the answer, the call is counted, as is one whose answer its caller does not receive. Power cuts are another matter: see
// package journal.
//
// # Limits
//
// 50,000 keys and 50,000 customers are remembered, and 4,096 texts that are no keys, so that those who invent keys do not
// drive others' out; 128 questions about keys that are not known are asked at once, and others wait for two seconds, so that
// those who invent keys may keep those from calling whose key is not known yet, and nobody else. The journal of each process
// may take micro.api.gateway.journal_bytes of the disk, 256 MiB unless it is said otherwise, which is a million calls: when
// usage was away for as long as they take, no more are let through (503). What was set aside takes more of the disk, without a
// limit, until people delete it. Usage takes calls of the last 35 days: those that it is told of later are set aside.
package gateway
