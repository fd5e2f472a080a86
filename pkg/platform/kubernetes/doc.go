// Package kubernetes runs the platform on Kubernetes: the manifests beside it describe the platform itself, CreateSecrets makes
// its secrets, and Runtime is Micro's runtime there, for what `micro run` hands it.
//
// Micro has a runtime for Kubernetes, too (service/runtime/kubernetes). It starts images, reads the token of its ServiceAccount
// once although Kubernetes replaces it every hour, has no security context in its pods, which so get into no namespace of the
// Pod Security Standard "restricted", and cannot change what a service runs. This one takes from it that a service is a
// Deployment with a Service and a Secret, and Micro's proto for fetching a binary (runtime.Build).
//
// # A service
//
// The binary that was uploaded is kept in Micro's blob store under its SHA-256. The pods of the service are of the platform's
// own image: `micro kubernetes start` logs in as the service, fetches its binary from the runtime, and nobody else's, checks the
// hash and becomes it. Its environment, credentials and the keys that it checks tokens with are in a Secret of its own. All of
// it is in a namespace of its own (MICRO_SERVICES_NAMESPACE), where the runtime may read Secrets; in the platform's it may do nothing.
//
// # Guarantees
//
// What Create or Update has acknowledged is what Kubernetes keeps running until Delete, whether the runtime does or not: the
// record is in the Secret, and there is none beside it. New pods take over when they are ready, so that a service which does not
// start does not end the one that runs; there may be two versions of a binary at a time, each on the same database.
//
// A change that fails half-way, or is killed, has perhaps changed the Secret and not yet the Deployment. Create, Update or
// Delete again does the rest.
//
// CreateSecrets never changes a Secret that is there.
//
// # Who may be wrong, and for how long
//
// One runtime changes services at a time: two of them (a Deployment whose strategy is not Recreate) could both find that
// nothing of a name runs, and the last one wins.
//
// A service has the keys that tokens are checked with as they were when it was last created or updated: after other keys were
// made, update each.
//
// A binary that nobody refers to is removed by the next change after an hour, which begins anew with each runtime. A pod whose
// container starts again has its binary; one that is made anew fetches it, and cannot start while the runtime or the blob
// store is away.
package kubernetes
