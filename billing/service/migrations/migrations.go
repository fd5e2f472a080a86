// Package migrations has the schema of the billing database, one file for each step.
package migrations

import "embed"

// FS has the migrations in its root.
//
//go:embed *.sql
var FS embed.FS
