// Package mtls lets processes of the platform prove to each other who they are: both ends of each connection show a certificate
// of an authority that the other one believes, over TLS 1.3.
//
//	source, err := mtls.Open("/run/tls", "customers")
//	grpc.NewServer(grpc.Creds(source.Server()))
//	grpc.NewClient(address, grpc.WithTransportCredentials(source.Client("billing")))
//
// A directory has what a process needs: cert.pem, its certificate, which is for clients and for servers, and those in between up
// to the authority; key.pem, its key; and ca.pem, the authorities that it believes, of which there may be several.
//
// # What is checked
//
// A caller connects to a service only if the certificate of who answers comes from an authority in ca.pem, has not expired, is
// for servers, and has the name of the service that is called as a DNS name. A node that lists itself under the name of another
// service, or an address that belongs to another one by now, is not called: it counts as one that cannot be reached.
//
// A service takes connections only of those with a certificate from an authority in ca.pem that has not expired and is for
// clients. Which service a caller may be, and which RPCs it may call, is what tokens and policies are for (pkg/auth): a
// certificate lets a process talk, and no more.
//
// # Replacing certificates
//
// The files are looked at for each connection that is made, and read when they have changed. What is read has to fit together,
// or the former is used on and the log says so: so a certificate and its key may be replaced one after the other. Connections that
// there are go on with what they were made with, a server ends them after ConnectionAge, and the calls on them come to their end.
//
// A new authority is first added to every ca.pem, beside the old one; when that is everywhere it may sign; when there is no
// certificate of the old one any more, that is taken out.
//
// # Who may be wrong, and for how long
//
// Nothing is revoked: a certificate whose key was stolen is good until it expires, and its connections for ConnectionAge more;
// calls that are streams go on as long as both ends want. Make certificates short-lived. An authority that was taken out of ca.pem
// is believed on connections that there are, for the same time.
//
// A process whose own certificate has expired says so in its log, at most every ten seconds; callers get 503 after the time that
// the client waits for a node, and their log says why, as with any node that cannot be reached. It mends itself with the next
// connection after the file was replaced. The clocks of machines must agree to within the slack that certificates are made with.
package mtls
