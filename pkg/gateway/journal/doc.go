// Package journal keeps records on disk until they have been handed on: what the gateway has let through is written here before
// its caller has an answer, and deleted when usage has it.
//
// # Guarantees
//
// A record whose Append has returned without an error survives the death of the process, however sudden: it is in the
// operating system's hands. It is handed on at least once, by this process or by one that takes the journal over, in batches
// whose names are the same whoever hands them on: a name says which bytes of which file. A record whose Append has failed
// is not handed on, unless the disk has refused to have it cut off again as well.
//
// All records that wait are written at once, so that a hundred callers cost one write.
//
// # Who may be wrong, and for how long
//
// A machine that loses power loses what was written in the last tenth of a second (Config.Sync), or since the disk has taken
// something last, which is reported when it does not. While nothing can be written Reserve says so; it is tried with a write ten
// times a second whether something can be. What a dying process has
// written only half of, or a disk has damaged, is found by checksums: records before and behind it are handed on, it itself
// is handed over as damaged, and reported. A file that cannot be read at all is reported, and tried again beside those behind it;
// what was in one that has vanished is lost, and reported as well.
//
// # Limits
//
// Each process has room for Config.Max bytes, of its own journal and those that it has taken over: Reserve says when there is
// none left, before anything is done that would have to be recorded. A record has at most MaxRecord bytes. What was set aside
// is not among that, and has no limit: people delete it, when they have looked at it.
//
// A directory belongs to the processes of one machine: each has a directory of its own in it, with a lock on it that ends with
// the process, whereupon another one takes it over.
package journal
