// Package authority is where the processes of one machine's platform have their certificates from, with `micro server --tls`: an
// authority of the platform's own, below the state directory, and a directory of certificates for each process as package mtls
// reads it.
//
// A certificate is for one process: its name is the DNS name that callers ask for, and beside it stands a URI that says what the
// process is: spiffe://micro/core/auth, spiffe://micro/service/customers, or spiffe://micro/sold/weather for a service that is
// sold. It is good for Life, and signed anew when half of that is over. A process that is started gets a new key; the certificates
// that follow are for the same one, so that whoever reads the files never finds a key without its certificate.
//
// The authority signs for CALife. When half of that is over there is a second one, which everybody believes from then on and which
// signs after Overlap; the first is believed until it ends.
//
// # Who may be wrong, and for how long
//
// The server issues for core services and renews everything, once a minute; the runtime issues for the services that it starts and
// withdraws what it has stopped. Both hold a lock while they write. While the server is away nothing is renewed, but then nothing
// runs either. A certificate that was withdrawn is good until it ends, for whoever has kept a copy of its key: Life at most.
//
// All of it is readable by the owner of the state directory only. On one machine all processes are that owner's, services that are
// sold included: certificates keep out other users of the machine and what answers at a wrong port, and they make one machine
// behave as a platform of several does. They do not keep processes of one user from each other.
package authority
