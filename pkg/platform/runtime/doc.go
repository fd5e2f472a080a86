// Package runtime is Micro's runtime of the embedded profile: it runs the services that `micro run` hands it as processes
// of the core service "runtime".
//
// # Guarantees
//
// What Create has acknowledged is in the store and is started again whenever the runtime starts, until Delete. A service
// that ends is started again with backoff. A service never outlives the runtime, even one that is killed, so that there
// are no two copies of it on one database; nor are there two versions. Each binary is kept once, under its SHA-256, for
// as long as a service refers to it, and for an hour after its upload.
//
// # Who may be wrong
//
// Read tells what the operating system told the supervisor: a process that runs may not answer yet. A service keeps its
// port when it is started again, so that a registry that still lists the process before it sends nobody astray; should
// somebody else have taken the port meanwhile, it gets another, and callers see refused connections until the registry has
// forgotten the old one (10 s).
package runtime
