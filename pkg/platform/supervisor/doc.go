// Package supervisor keeps processes running: it starts them, restarts them with backoff when they end, keeps what they
// print in a log of bounded size, and takes them along when it ends itself.
//
// # Guarantees
//
// Between Start and Stop there is at most one copy of a process; what it left in its process group is killed before the
// next one is started. After Stop there is none. When the supervising process itself ends, by a SIGKILL too, the kernel
// kills its children (on Linux; elsewhere they notice that a pipe broke, if they call EndWithParent), so that the next
// supervisor does not meet them.
//
// # Who may be wrong
//
// Status is what the operating system has told: a process that hangs is Running. Nothing but its end makes the supervisor
// restart it. What a child has started itself ends with it when the child is stopped or ends, but not when the supervisor
// is killed: services of this house start nothing. A child that changes its process group, or drops its parent death signal
// as set-user-ID programs do, is out of reach.
package supervisor
