//! `cargo xtask demo`: a real PyTorch training run on a real cluster, from nothing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use cluster::Progress;
use cluster::images::{self, Image, Profile};

use crate::stage::{Stages, must};
use crate::target::{Choice, Target};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
}

const IMAGE: Image = Image::PytorchDigits;
const JOB: &str = "pytorch-digits";
const MANIFEST: &str = "deploy/examples/pytorch-digits.yaml";
/// Far more than the run needs, also on a slow machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stages = Stages::new();
    let target = stages.run(
        "cluster up with its images, side by side (the first time, all of it is built)",
        |_| prepare(&args.choice),
    )?;
    stages.run("operator installed from deploy/install.yaml", |_| {
        target.install()
    })?;
    stages.run("training", |_| train(&target))?;
    stages.run("the master's log", |_| {
        must(target.kubectl(&["logs", &format!("{JOB}-master-0")]))
    })?;
    stages.run("the job's status", |_| show_status(&target))?;
    advise(&target);
    Ok(())
}

/// Builds the cluster's programs, the example's image and the operator at the same time: each waits for the network or for a
/// single long step now and then.
fn prepare(choice: &Choice) -> Result<Target> {
    std::thread::scope(|scope| {
        let target = scope.spawn(|| Target::up_beside(choice));
        let image = scope.spawn(|| {
            if choice.is_given() {
                return Ok(());
            }
            images::build(IMAGE, Progress::Lines).map(drop)
        });
        let operator = if choice.is_given() {
            Ok(None)
        } else {
            images::operator_program(Profile::Dev, Progress::Lines).map(Some)
        };
        let ended = |_| anyhow!("a thread ended");
        let (target, image) = (target.join().map_err(ended)?, image.join().map_err(ended)?);
        let target = target?;
        image?;
        target.load_images(&[IMAGE])?;
        if let Some(program) = operator? {
            target.load_operator(&program)?;
        }
        Ok(target)
    })
}

/// Runs the example anew and follows it to its end.
fn train(target: &Target) -> Result<()> {
    must(target.kubectl(&["delete", "--ignore-not-found", "--wait", "-f", MANIFEST]))?;
    must(target.kubectl(&["apply", "-f", MANIFEST]))?;
    let begun = Instant::now();
    let mut last = String::new();
    while begun.elapsed() < PATIENCE {
        let now = progress(target)?;
        if now != last {
            eprintln!("{:>5.1} s  {now}", begun.elapsed().as_secs_f64());
            last.clone_from(&now);
        }
        match now.split_whitespace().next() {
            Some("Succeeded") => return Ok(()),
            Some("Failed") => {
                show_status(target)?;
                bail!("the job failed: see its status above");
            }
            _ => std::thread::sleep(Duration::from_millis(500)),
        }
    }
    show_status(target)?;
    bail!("the job has not ended within {} s", PATIENCE.as_secs())
}

/// State of the job, phases of its pods, last line of the master.
fn progress(target: &Target) -> Result<String> {
    let state = read(
        target,
        &["get", "ptj", JOB, "-o", "jsonpath={.status.conditions[-1:].type}"],
    )?;
    let phases = "jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}";
    let names = ["master-0", "worker-0", "worker-1"].map(|replica| format!("{JOB}-{replica}"));
    let mut get = vec!["get", "pods", "--ignore-not-found", "-o", phases];
    get.extend(names.iter().map(String::as_str));
    let pods = read(target, &get)?;
    let log = read(target, &["logs", "--tail=1", &format!("{JOB}-master-0")]).unwrap_or_default();
    let state = if state.is_empty() {
        "Submitted".to_owned()
    } else {
        state
    };
    Ok(format!(
        "{state:<10} {} | {}",
        pods.replace(&format!("{JOB}-"), "").trim(),
        log.trim()
    ))
}

fn read(target: &Target, args: &[&str]) -> Result<String> {
    let output = target.kubectl(args).stderr(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn show_status(target: &Target) -> Result<()> {
    let conditions = "jsonpath={range .status.conditions[*]}{.lastTransitionTime}  {.type}={.status}  {.message}{\"\\n\"}{end}";
    let replicas = "jsonpath={.status.replicaStatuses}{\"\\n\"}";
    for args in [
        &["get", "ptj", JOB][..],
        &["get", "pods", "-o", "wide"],
        &["get", "ptj", JOB, "-o", conditions],
        &["get", "ptj", JOB, "-o", replicas],
    ] {
        must(target.kubectl(args))?;
    }
    Ok(())
}

fn advise(target: &Target) {
    eprintln!("\nWhat to try next:\n");
    eprintln!("  export KUBECONFIG={}", target.kubeconfig.display());
    eprintln!("  alias kubectl={}\n", target.kubectl.display());
    for line in [
        "kubectl explain pytorchjob.spec.pytorchReplicaSpecs     every field",
        "kubectl describe ptj pytorch-digits                     conditions and events",
        "kubectl apply -f deploy/examples/pytorch-elastic.yaml   a run that goes on when a worker is lost:",
        "kubectl delete pod pytorch-elastic-worker-2             lose one, and watch `kubectl get ptj,pods`",
        "cargo xtask test                                        all tests",
        "cargo xtask cluster down                                take the cluster away",
    ] {
        eprintln!("  {line}");
    }
}
