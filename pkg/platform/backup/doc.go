// Package backup is `micro backup` and `micro restore`: one file that has all of a platform at one instant, made while it runs,
// and a platform made of it elsewhere.
//
// # One instant
//
// A platform keeps what it knows in many places: a database for each service, the stores of the core services, the event
// stream, the gateway's journal, keys. Copied one after the other they would not fit together. Whoever has told of
// something must still know it, and what was acknowledged must have had its effect: no order of copying has both, since
// services consume each other's events in a circle. So there is one instant for all of them.
//
// What is in the state directory is copied while everything runs, and then once more what has changed, while all processes of
// the platform stand still (SIGSTOP). The second copy is what the processes would leave behind if they were killed at this
// instant, and from that they go on whenever they are started: nothing that was answered is lost by it. Nobody
// notices but by the clock, and by the answers that take some milliseconds longer. A shell that has nothing else to do
// continues the processes when the backup says so, and also when it dies. When the copy takes longer than MaxPause, they are
// continued and there is no backup.
//
// PostgreSQL and Redis go on meanwhile, because others use them too, and processes on other machines as well. The end of each
// topic is noted first, and within a second each database exports a snapshot. Both are read afterwards, for as long as it
// takes. What the stream got after its end was noted is left out:
// its event has either been in the outbox at the time of the snapshot, as an event stays there for 2 s after the stream has
// it (events.DefaultSettle), and is published again; or its transaction came after the snapshot, and nothing of it
// ever happened.
//
// # What holds after a restore
//
// Everything that was answered before the backup began is there, and nothing that began after it ended. All services
// agree on what has happened. What the stream delivers again, each consumer has in its inbox and passes over; so nothing counts
// twice, however old the backup is: the time between does not count for the inbox (events.Revive).
//
// In Redis, each group begins with the first event that the stream has. Whoever consumes without an inbox gets again what is
// not older than the stream's retention, 7 days.
//
// # What a restore loses, and what it repeats
//
// What happened after the instant is gone: signups, keys, calls that were counted, changes of the configuration. Others have
// not forgotten it. A customer who subscribed since then pays at Stripe for what billing does not know: until a webhook tells,
// which may be the next renewal's, or never when billing does not know Stripe's customer either. So look through what was subscribed
// and cancelled at Stripe since then (its dashboard can send webhooks again). An operation at Stripe that was under way is asked
// for again under its own name, and no card is charged for one that is older than a quarter of an hour. Mixpanel has the events since
// then, and gets what is delivered again under the ids by which it knows it. A mail may be sent twice. A key that was
// revoked since then is good again, and so is a password that was changed: rotate what was leaked.
//
// Services with databases of their own on PostgreSQL are seen some milliseconds one after the other. Nothing is lost by
// that, but one of them may know of something that another has not done yet: it happens again under another id, or never.
// In Redis, a topic that is more than three quarters full forgets early what all groups have acknowledged; what it
// forgets between the instant and the copy, a group does not get again that had acknowledged it just then.
//
// # What is not in it
//
// Logs, the login of the command line, who is registered (in etcd, which needs no backup), what Stripe and Mixpanel know, databases
// that neither the environment nor --database names, and on Kubernetes the Secrets and the journals of API pods.
//
// # The file
//
// A tar archive: state/ is the state directory, postgres/ has pg_dump's custom format, redis/ a topic each as lines of JSON. The
// last file, manifest.json, has sizes and SHA-256 of all others and the versions of the schemas. The file appears when it is
// complete and on the disk, for its owner alone. It is not encrypted, and has all secrets of the platform.
package backup
