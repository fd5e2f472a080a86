//go:build !platform

package databasetest

// platform says that tests have to run on PostgreSQL.
const platform = false
