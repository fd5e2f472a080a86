// Package supervisor keeps processes running: it starts them, restarts them with backoff when they end, keeps what they
// print in a log of bounded size, and takes them along when it ends itself, even by a SIGKILL.
package supervisor
