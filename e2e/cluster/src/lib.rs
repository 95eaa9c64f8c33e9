//! A real Kubernetes on one Linux machine, without Docker.
//!
//! [`Cluster`] is a whole cluster (control plane, one node, and further nodes that can be lost) that lives in
//! namespaces of its own and can be taken down without a trace. [`ApiServer`] is etcd and an API server only, for
//! tests and benchmarks that need no node. [`Guest`]s are programs of other projects that can run beside a
//! cluster. [`images`] writes container images without a container engine, and
//! [`kind`] hands the same work to `kind` where Docker is at hand.

mod addons;
mod api_server;
pub mod audit;
mod cache;
mod cgroups;
mod command;
mod control_plane;
mod down;
mod guest;
mod handle;
pub mod images;
pub mod kind;
mod kubeconfig;
mod launch;
mod layout;
mod lifecycle;
mod network;
mod node;
mod nodes;
mod packages;
mod pki;
mod process;
mod progress;
mod start;
mod state;
mod toolchain;

pub use api_server::{ApiServer, ApiServerOptions};
pub use cache::folder as cache_folder;
pub use guest::Guest;
pub use handle::{Cluster, Options};
pub use lifecycle::Status;
pub use node::Taint;
pub use nodes::NodeOptions;
pub use progress::Progress;
pub use toolchain::Toolchain;
