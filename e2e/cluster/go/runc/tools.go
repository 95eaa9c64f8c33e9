//go:build tools

// Package runc pins the OCI runtime of the local test cluster.
package runc

import _ "github.com/opencontainers/runc"
