//! The command line. Flags have upstream's names where upstream has them (training-operator 1.9,
//! `cmd/training-operator.v1/main.go`); each can be given by an environment variable as well.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use common::gang::Gang;
use common::settings::{ExecHelper, InitContainer, ServiceMode};
use common::{Framework, Settings};
use jiff::{SignedDuration, Timestamp};
use runtime::telemetry::{self, LogFormat};
use runtime::{Exit, GangChoice, LeaseOptions, Options};

use crate::helper::{self, DeliverArgs, ExecArgs};
use crate::manifests::{self, Scope};
use crate::{FRAMEWORKS, offline};

/// Exit code if another process leads, so that this one must not write any more.
const LEASE_LOST: u8 = 3;
/// File with the name of a pod's namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

#[derive(Debug, Parser)]
#[command(
    name = "trainyard-operator",
    version,
    about = "Runs kubeflow.org training jobs on Kubernetes"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator.
    Run(Box<RunArgs>),
    /// Print the custom resource definitions.
    Crds,
    /// Print the roles that the operator needs.
    Rbac(RbacArgs),
    /// Print what the operator would do about a job, and why. Needs no cluster.
    Plan(PlanArgs),
    /// Copy this program into a launcher's pod, where it is called as kubectl.
    Deliver(DeliverArgs),
    /// Run a command in a container of another pod.
    Exec(ExecArgs),
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Address of /metrics; 0 for none.
    #[arg(long, env = "TRAINYARD_METRICS_BIND_ADDRESS", default_value = ":8080")]
    metrics_bind_address: String,
    /// Address of /healthz and /readyz; 0 for none.
    #[arg(long, env = "TRAINYARD_HEALTH_PROBE_BIND_ADDRESS", default_value = ":8081")]
    health_probe_bind_address: String,
    /// Elect one of several operators by a Lease; the others stand by.
    #[arg(long, env = "TRAINYARD_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    leader_elect: bool,
    /// Name of the Lease.
    #[arg(
        long,
        env = "TRAINYARD_LEADER_ELECTION_ID",
        default_value = "trainyard-operator"
    )]
    leader_election_id: String,
    /// Namespace of the Lease; the operator's own if absent.
    #[arg(long, env = "POD_NAMESPACE")]
    leader_election_namespace: Option<String>,
    /// Name of this process in the Lease and in events.
    #[arg(long, env = "POD_NAME")]
    pod_name: Option<String>,
    /// Run the jobs of this namespace only; of all if absent.
    #[arg(long, env = "TRAINYARD_NAMESPACE")]
    namespace: Option<String>,
    /// Kind to run, such as `PyTorchJob`; may be given several times; all if absent.
    #[arg(
        long = "enable-scheme",
        env = "TRAINYARD_ENABLE_SCHEME",
        value_delimiter = ','
    )]
    enable_scheme: Vec<String>,
    /// Jobs that are looked at at the same time.
    #[arg(long, env = "TRAINYARD_CONTROLLER_THREADS", default_value_t = 32)]
    controller_threads: usize,
    #[command(flatten)]
    pods: PodArgs,
    #[command(flatten)]
    restarts: RestartArgs,
    #[command(flatten)]
    gang: GangArgs,
    /// Look of the log lines.
    #[arg(long, env = "TRAINYARD_LOG_FORMAT", value_enum, default_value_t = LogLook::Json)]
    log_format: LogLook,
    /// Level of the log, or directives such as `info,runtime=debug`.
    #[arg(long, env = "TRAINYARD_LOG_LEVEL", default_value = "info")]
    log_level: String,
}

/// What changes the look of pods and services.
#[derive(Debug, Args)]
struct PodArgs {
    /// One Service per job, or one per replica.
    #[arg(long, env = "TRAINYARD_SERVICE_MODE", value_enum, default_value_t = Services::Job)]
    service_mode: Services,
    /// Image of an init container in which workers of a PyTorchJob or XGBoostJob wait for the master's name; none if absent.
    #[arg(long, env = "TRAINYARD_PYTORCH_INIT_CONTAINER_IMAGE")]
    pytorch_init_container_image: Option<String>,
    /// Look-ups after which it gives up.
    #[arg(
        long,
        env = "TRAINYARD_PYTORCH_INIT_CONTAINER_MAX_TRIES",
        default_value_t = 100
    )]
    pytorch_init_container_max_tries: u32,
    /// Domain of the cluster, such as `cluster.local`, to be appended to names that end in `.svc`; none if absent.
    #[arg(long, env = "CUSTOM_CLUSTER_DOMAIN")]
    cluster_domain: Option<String>,
    /// Image of the init container that brings the exec helper into launchers of `v1` MPIJobs: the operator's own, or one
    /// that works as upstream's kubectl-delivery if no command is given with it.
    #[arg(long, env = "TRAINYARD_EXEC_HELPER_IMAGE")]
    mpi_kubectl_delivery_image: Option<String>,
    /// Command of that init container, words separated by blanks; that of the operator's image if absent.
    #[arg(long, env = "TRAINYARD_EXEC_HELPER_COMMAND")]
    mpi_kubectl_delivery_command: Option<String>,
}

/// What becomes of pods that are taken away or lost.
#[derive(Debug, Args)]
struct RestartArgs {
    /// Time, such as `30s` or `5m`, after which the pods of a node that is not Ready, or is gone, are deleted by force and
    /// replaced; at once where the node has the taint node.kubernetes.io/out-of-service. 0 for never.
    #[arg(long, env = "TRAINYARD_NODE_LOST_AFTER", default_value = "5m", value_parser = seconds)]
    node_lost_after: i64,
    /// Count pods that were preempted, evicted, drained, deleted or lost against backoffLimit, as failed ones.
    #[arg(long, env = "TRAINYARD_COUNT_DISRUPTIONS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    count_disruptions: bool,
}

/// Reads a duration: with units, or in seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let seconds = match text.parse::<i64>() {
        Ok(seconds) => seconds,
        Err(_) => text
            .parse::<SignedDuration>()
            .map_err(|error| error.to_string())?
            .as_secs(),
    };
    if seconds < 0 {
        return Err("must not be negative".to_owned());
    }
    Ok(seconds)
}

/// Who places the pods of a job all together.
#[derive(Debug, Args)]
struct GangArgs {
    /// Gang scheduler: `auto` (Kubernetes' own if the API server serves its PodGroups, else none), `native`, `volcano`,
    /// `none` (in any case), or the name of a scheduler that reads the PodGroups of the scheduler-plugins.
    #[arg(
        long,
        alias = "gang-scheduler-name",
        env = "TRAINYARD_GANG_SCHEDULER",
        default_value = "auto"
    )]
    gang_scheduler: GangChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLook {
    Json,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Services {
    Job,
    PerReplica,
}

#[derive(Debug, Args)]
struct RbacArgs {
    /// For an operator that runs the jobs of its own namespace only.
    #[arg(long)]
    namespaced: bool,
    /// Namespace of the operator.
    #[arg(long, default_value = "trainyard-system")]
    namespace: String,
    #[command(flatten)]
    gang: GangArgs,
}

#[derive(Debug, Args)]
struct PlanArgs {
    /// Manifest of the job.
    file: PathBuf,
    /// Its pods: a Pod, or a List of them, such as `kubectl get pods -o yaml` prints.
    #[arg(long)]
    pods: Option<PathBuf>,
    /// What time it is.
    #[arg(long)]
    now: Option<Timestamp>,
    #[command(flatten)]
    settings: PodArgs,
    #[command(flatten)]
    restarts: RestartArgs,
    #[command(flatten)]
    gang: GangArgs,
}

/// Runs the command of the command line.
///
/// # Errors
/// If the command fails; the text is for the user.
pub fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(args) => run(*args),
        Command::Crds => print(&manifests::crds(FRAMEWORKS)?),
        Command::Rbac(RbacArgs {
            namespaced,
            namespace,
            gang,
        }) => {
            let scope = if namespaced {
                Scope::Namespace(&namespace)
            } else {
                Scope::Cluster(&namespace)
            };
            print(&manifests::rbac(FRAMEWORKS, &gang.gang_scheduler, scope)?)
        }
        Command::Plan(args) => {
            let gang = match args.gang.gang_scheduler {
                GangChoice::Auto => Gang::None, // there is no cluster to ask
                GangChoice::Fixed(gang) => gang,
            };
            let settings = Settings {
                gang,
                ..settings(args.settings, &args.restarts)
            };
            let now = args.now.unwrap_or_else(Timestamp::now);
            print(&offline::plan(
                FRAMEWORKS,
                &settings,
                &args.file,
                args.pods.as_deref(),
                now,
            )?)
        }
        Command::Deliver(args) => helper::deliver(args),
        Command::Exec(args) => helper::exec(args),
        Command::Version => print(concat!("trainyard-operator ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn print(text: &str) -> Result<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader may close the pipe.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn settings(args: PodArgs, restarts: &RestartArgs) -> Settings {
    let max_tries = args.pytorch_init_container_max_tries;
    let own = ExecHelper::default();
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    Settings {
        service_mode: match args.service_mode {
            Services::Job => ServiceMode::Job,
            Services::PerReplica => ServiceMode::PerReplica,
        },
        init_container: args
            .pytorch_init_container_image
            .map(|image| InitContainer { image, max_tries }),
        cluster_domain: args.cluster_domain.filter(|domain| !domain.is_empty()),
        exec_helper: ExecHelper {
            image: args.mpi_kubectl_delivery_image.unwrap_or(own.image),
            command: args.mpi_kubectl_delivery_command.map_or(own.command, words),
        },
        node_lost_after: Some(restarts.node_lost_after).filter(|seconds| *seconds > 0),
        count_disruptions: restarts.count_disruptions,
        gang: Gang::None,
    }
}

fn run(args: RunArgs) -> Result<ExitCode> {
    let look = match args.log_format {
        LogLook::Json => LogFormat::Json,
        LogLook::Text => LogFormat::Text,
    };
    telemetry::init(look, &args.log_level)?;
    let frameworks = kinds(&args.enable_scheme)?;
    let instance = unique(args.pod_name.or_else(|| std::env::var("HOSTNAME").ok()));
    let lease = args.leader_elect.then(|| LeaseOptions {
        namespace: args.leader_election_namespace.unwrap_or_else(own_namespace),
        name: args.leader_election_id,
        identity: instance.clone(),
    });
    let options = Options {
        namespace: args.namespace.filter(|namespace| !namespace.is_empty()),
        concurrency: args.controller_threads,
        settings: settings(args.pods, &args.restarts),
        gang: args.gang.gang_scheduler,
        metrics_address: args.metrics_bind_address,
        probe_address: args.health_probe_bind_address,
        lease,
        instance,
    };
    let threads = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting threads")?;
    let exit = threads.block_on(async {
        let stop = runtime::shutdown::on_signal().context("listening to signals")?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            instance = options.instance,
            "starting"
        );
        anyhow::Ok(runtime::run(options, frameworks, stop).await?)
    });
    threads.shutdown_background();
    Ok(match exit? {
        Exit::Stopped => ExitCode::SUCCESS,
        Exit::LeaseLost => ExitCode::from(LEASE_LOST),
    })
}

/// The frameworks of these kinds, or all.
fn kinds(wanted: &[String]) -> Result<Vec<&'static dyn Framework>> {
    if wanted.is_empty() {
        return Ok(FRAMEWORKS.to_vec());
    }
    let find = |name: &String| {
        let found = FRAMEWORKS
            .iter()
            .find(|f| f.kind().kind.eq_ignore_ascii_case(name));
        let known = || {
            FRAMEWORKS
                .iter()
                .map(|f| f.kind().kind)
                .collect::<Vec<_>>()
                .join(", ")
        };
        found
            .copied()
            .with_context(|| format!("--enable-scheme {name}: no such kind; there are {}", known()))
    };
    let mut found: Vec<&'static dyn Framework> = wanted.iter().map(find).collect::<Result<_>>()?;
    found.dedup_by_key(|f| f.kind().kind);
    if found.is_empty() {
        bail!("--enable-scheme leaves no kind to run");
    }
    Ok(found)
}

/// Identity of this process. Two processes must never have the same, whatever the names of their pods.
fn unique(name: Option<String>) -> String {
    let name = name.unwrap_or_else(|| "trainyard-operator".to_owned());
    format!("{name}_{:08x}", RandomState::new().build_hasher().finish() >> 32)
}

fn own_namespace() -> String {
    std::fs::read_to_string(NAMESPACE_FILE)
        .map_or_else(|_| "default".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> RunArgs {
        let all = ["trainyard-operator", "run"].iter().chain(args);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_upstreams() {
        let args = parse(&[
            "--leader-elect",
            "--enable-scheme",
            "pytorchjob",
            "--controller-threads",
            "4",
        ]);
        assert!(args.leader_elect);
        assert_eq!(kinds(&args.enable_scheme).unwrap().len(), 1);
        assert!(!parse(&["--leader-elect=false"]).leader_elect);
        assert!(parse(&[]).leader_elect);
        assert_eq!(parse(&[]).gang.gang_scheduler, GangChoice::Auto);
        let empty = parse(&["--gang-scheduler="]).gang.gang_scheduler;
        assert_eq!(empty, GangChoice::Auto);
        let upstreams = parse(&["--gang-scheduler-name=Volcano"]).gang.gang_scheduler;
        assert_eq!(upstreams, GangChoice::Fixed(Gang::Volcano));
        assert!(kinds(&["NoJob".to_owned()]).is_err());
    }

    #[test]
    fn times_have_units_or_are_seconds() {
        let after = |args: &[&str]| parse(args).restarts.node_lost_after;
        assert_eq!(after(&[]), 300);
        for (text, is) in [
            ("30s", 30),
            ("5m", 300),
            ("1h30m", 5400),
            ("45", 45),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(after(&["--node-lost-after", text]), is, "{text}");
        }
        for bad in ["", "soon", "-1s", "-5"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        let never = parse(&["--node-lost-after=0", "--count-disruptions"]);
        let settings = settings(never.pods, &never.restarts);
        assert_eq!(
            (settings.node_lost_after, settings.count_disruptions),
            (None, true)
        );
    }

    /// Two processes with the same identity would both believe to hold the lease.
    #[test]
    fn no_two_processes_have_the_same_identity() {
        let name = || Some("operator-0".to_owned());
        assert_ne!(unique(name()), unique(name()));
    }
}
