// Package direct is Micro's RPC client without the detour: it looks a service up in the registry and calls one of its nodes,
// over one connection to each. Generated clients, wrappers, call options, both encodings and streams work as with Micro's own
// client, which sends each call through the proxy of the platform instead.
//
//	c := direct.New(direct.Config{})
//	customers := pb.NewCustomersService("customers", c)
//
// Of two nodes that chance picks, the one with fewer calls under way is called. A call carries its deadline, its caller's
// header, and its cancellation.
//
// # What is called again
//
// A call that certainly nobody has worked on goes to another node, as long as its caller has time: there was no connection
// to send it over, or gRPC's server said that it did not look at it, or the service said that it is stopping (503), which it
// says before anything else. This is no retry, and has no limit but that each node is tried once; when none is left, the
// call waits for one to appear, for Config.Patience at most.
//
// A call whose connection is lost after it was sent may have been carried out. It is made again only if its method says that
// this does no harm, by the idempotency_level in its proto, or by what its endpoint says in the registry when the proto is
// not linked: three times in all at most, with a growing, uneven wait between them, within its deadline, and only as often
// as a budget allows that a tenth of all calls pay into. Any other call fails with 503. A stream that is open is never
// opened again.
//
// # Who may be wrong, and for how long
//
// The registry tells when something changes, and is asked every 5 s in any case. A node that has left without a trace (kill
// -9, a broken machine) is listed for as long as it had promised to stay, 10 s for ours; but its connection breaks, and
// nobody calls it from that moment until it accepts a connection again. So each call that was on its way to it may fail,
// and none after. A machine that vanishes without closing its connections is noticed after eleven seconds of silence, and
// calls to it end with their deadlines before that.
//
// A registry that is away or hangs changes nothing: the nodes known last are called. One that comes back knows nobody until
// the nodes register again. So a node that is not listed any more is kept for Config.Forget, and is gone at once only when
// the registry has been watched without a break for Config.Settle before the answer. If the registry is wrong about that
// for longer, the node is not called until it is listed again; calls that are on it are not disturbed.
//
// The address of a node may belong to another service after it has gone and before that is known. Our servers answer a call
// that is not for them with 404; with Config.Secure there is no connection to it, and no call.
//
// A node that leaves in an orderly way (SIGTERM) leaves the registry, answers what it is working on, refuses the rest, and
// then closes. No call is lost by that, even if the notice of the registry is late, as what it refuses goes elsewhere.
//
// # Limits
//
// A message has at most 32 MiB: a larger request is refused before it is sent (413), a larger answer when it arrives (500).
// Connections are not encrypted, as between Micro's own services, unless Config.Secure says so. A service that nobody has called for ten minutes is
// forgotten, and an address that a caller has named after a minute; their connections are closed.
//
// README.md has what a call costs.
package direct
