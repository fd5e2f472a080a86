package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
)

// copy makes the standby of Config.Follows: its data, and the word that it is to be followed.
func (k *postgres) copy(ctx context.Context, s *Server) error {
	host, port, err := net.SplitHostPort(s.config.Follows)
	if err != nil {
		return err
	}
	backup := k.run(ctx, s, "pg_basebackup", "-D", s.data(), "-h", host, "-p", port, "-U", "postgres",
		"--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast")
	if out, err := backup.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return nil
}

// SQL has a PostgreSQL server do something, as its superuser, and returns what psql prints without decoration. Each statement
// is a transaction of its own.
func (s *Server) SQL(ctx context.Context, statements ...string) (string, error) {
	args := []string{"-X", "-A", "-t", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port()), "-U", "postgres", "-v", "ON_ERROR_STOP=1"}
	for _, statement := range statements {
		args = append(args, "-c", statement)
	}
	return s.postgresProgram(ctx, "psql", args...)
}

// AwaitStandby has a PostgreSQL server acknowledge nothing, from now on, that a standby has not on its disk too: no failover
// loses anything then. While there is no standby, nothing is acknowledged.
func (s *Server) AwaitStandby(ctx context.Context) error {
	_, err := s.SQL(ctx, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	return err
}

// Promote makes a standby a server that takes changes, and waits for nobody: it has no standby yet. Whoever calls it has made
// sure that the one which it followed takes no more of them.
func (s *Server) Promote(ctx context.Context) error {
	if _, err := s.postgresProgram(ctx, "pg_ctl", "promote", "-D", s.data()); err != nil {
		return err
	}
	_, err := s.SQL(ctx, "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
	return err
}

// Rejoin starts a PostgreSQL server that was stopped or killed as the standby of another, whose data it gets in the place of
// its own.
func (s *Server) Rejoin(ctx context.Context, primary *Server) error {
	s.config.Follows = primary.Host()
	if err := errors.Join(os.RemoveAll(s.data()), s.kind.prepare(ctx, s)); err != nil {
		return err
	}
	return s.Start(ctx)
}

func (s *Server) postgresProgram(ctx context.Context, name string, args ...string) (string, error) {
	k, ok := s.kind.(*postgres)
	if !ok {
		return "", errors.New(s.kind.name() + " is not PostgreSQL")
	}
	out, err := k.run(ctx, s, name, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s: %w\n%s", name, err, exit.Stderr)
	}
	return string(out), err
}
