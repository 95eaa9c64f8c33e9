//! Nodes that are lost, and pods lost with them.
