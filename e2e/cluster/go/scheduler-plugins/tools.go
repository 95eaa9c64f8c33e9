//go:build tools

// Package schedulerplugins pins the scheduler of scheduler-plugins, which can run beside the local test cluster.
// Where it shares a dependency with Kueue, both pin the same version: what is compiled for one is there for the other.
package schedulerplugins

import _ "sigs.k8s.io/scheduler-plugins/cmd/scheduler"
