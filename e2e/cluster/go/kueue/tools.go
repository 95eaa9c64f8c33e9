//go:build tools

// Package kueue pins Kueue, which can run beside the local test cluster.
package kueue

import _ "sigs.k8s.io/kueue/cmd/kueue"
