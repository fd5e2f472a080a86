// Package redis is the event stream of the platform profile, on Redis Streams, 7.0 or newer: one server, one with replicas and
// Sentinels, or a cluster. A topic is a stream, a group is a consumer group, and all members of a group in one process are one
// consumer. Any number of processes may have the stream open; whatever holds, holds among all of them.
//
// # What the servers need
//
// maxmemory-policy noeviction: a server that throws out what it has is refused. appendonly yes: without it, the log warns that
// a restart loses everything since the last snapshot. A user that may do everything with the keys and channels micro:events:*,
// and run INFO and scripts: ~micro:events:* &micro:events:* +@all -@admin does. The Sentinels are asked without a password.
//
// # What holds
//
// The events of a batch that are for one topic get there all together or not at all, in their order and without others between
// them. When their publication fails, they may be there; published again, under the ids that they have, they are there twice:
// whoever consumes goes by the id. A publication never waits for longer than 10 s, and nothing is published twice by itself.
//
// A group gets each event until one of its members acknowledges it: in the order of the stream, but for those that are
// repeated. An event is repeated AckWait after it was delivered, after the delay of a Nack, and at once when its member has
// gone, before all that the group has not had yet. Some are kept ready for members that ask again and again; what nobody in
// a process has asked for within a second or two, other processes get. So the order is that of the stream in each process, and
// among several about so.
//
// # What a crash loses
//
// A server with appendfsync everysec, which is the default, loses up to a second of what it has acknowledged when its machine
// stops, and nothing when only its process is killed; with always it loses nothing. A replica that becomes the master does not
// have what it had not been sent yet: usually some milliseconds, and without a limit unless min-replicas-max-lag and
// min-replicas-to-write set one. The epoch that each publication returns is the replication id of the master, which is another
// one after each of these (or of all masters of a cluster, as one text): whoever still has what was acknowledged just before
// publishes it again. The server tells its id on the same connection just before it takes the events, so that the
// epoch is that of the server that has taken them, also when it is demoted at this moment or two of them take themselves
// for the master. In a cluster, the id of a server that nothing is published to is asked for every 5 s, and by a publication
// of nothing. An epoch may change without a loss: when the first replica comes, or when the last one has been away for an hour.
//
// What is lost of the acknowledgements is delivered again. A group that was lost is made again, when somebody subscribes, from
// where the Options say.
//
// # Who may be wrong, and for how long
//
// A process says every second that it is there. What one had that was killed, others get after 5 to 7 s, whatever its AckWait:
// that is measured by the process that has the event. One that could not say so for 5 s may find that it was taken for dead:
// its subscriptions break, and what they had is repeated. Until it finds out, which takes it a second, two members may have
// the same event. When the servers were away, nobody is taken for dead for it. Delays of Nacks are kept by the server, and
// outlive everybody; attempts too. What was on its way to a process that was killed counts as an attempt, though it may never
// have reached a member.
//
// A subscription breaks when a server does not do what it is asked, whatever the reason: a lost connection, a failover, a
// group that was removed. Its owner subscribes again; Consume does so by itself for a group.
//
// Members hear of events by the server's publish and subscribe. That loses messages when a connection breaks: then an event
// waits for a second at most, after which everybody looks.
//
// # What is kept, and for how long
//
// An event is removed when all groups have acknowledged it, and all before it, and it is older than Config.Retention; one of
// the processes looks once a minute. A topic holds Config.MaxBytes of events at most: from three quarters on, what all groups
// have acknowledged goes whatever its age, until it is half full. What a group has not acknowledged stays: a topic that is full
// of that takes no more, and says which group it is waiting for; from 80% on the log says so each minute. A group of which
// nobody has been there for Retention, and an eighth of it more, is removed, which the log says. An event that a group has had
// as often as it may is acknowledged for it, and the log says so: consumers of pkg/events put it into their dead letters
// before.
//
// The bytes are those of the events as they are kept, without those of Redis's own structures, which are some tenths more. Set
// maxmemory: a server that has reached it takes no events, which is an error that passes, and lets consumers go on.
//
// # Memory
//
// A group holds at most some 4 MiB and 1,000 events that it has not handed out yet, 16 MiB when events are large, and some
// hundred bytes for each that it has. Of what is in a topic nothing else is kept in a process.
package redis
