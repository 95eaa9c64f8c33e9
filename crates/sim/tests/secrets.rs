//! No secret in logs, status or events. A program of its own: what is logged is the whole process's affair.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::duration_suboptimal_units,
    reason = "tests fail by panicking, and read better without ceremony"
)]

#[path = "attacks/world.rs"]
#[allow(dead_code, reason = "the attacks use the rest")]
mod world;

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::settings::ServiceMode;
use common::testing::whole;
use serde_json::{Value, json};
use sim::cluster::NAMESPACE;
use sim::kubernetes::fail;
use sim::store::Key;
use sim::types::{PODS, SECRETS};
use sim::value::{label, name};

use world::{World, kinds, seconds};

/// What is written to it can be read by the test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How a key might be written: as it is, each of its lines, and all of it in base64, with any beginning.
fn forms(key: &str) -> Vec<String> {
    let lines: Vec<&str> = key
        .lines()
        .filter(|line| line.len() > 16 && !line.starts_with("---"))
        .collect();
    assert!(lines.len() > 2, "a key has lines");
    let mut forms: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    forms.push(key.to_owned());
    for skipped in 0..3 {
        let encoded = STANDARD.encode(&key.as_bytes()[skipped..]);
        forms.push(encoded[..encoded.len() - 4].to_owned());
    }
    for bytes in lines
        .iter()
        .map(|line| STANDARD.decode(line).unwrap_or_default())
        .filter(|b| b.len() > 16)
    {
        forms.push(
            bytes
                .iter()
                .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
        );
        forms.push(format!("{bytes:?}").trim_matches(['[', ']']).to_owned());
    }
    forms
}

/// An MPIJob of v2beta1 from its creation to its end, with refusals, a restart and everything that can be logged.
#[tokio::test(start_paused = true)]
async fn the_private_key_is_in_its_secret_and_nowhere_else() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(lines).unwrap();
    let framework = kinds()
        .into_iter()
        .find(|f| f.kind().makes.contains(&common::kind::ExtraKind::KeyPair))
        .unwrap();
    let world = World::start(ServiceMode::Job, 3);
    let mut manifest = whole(framework, 2);
    manifest["spec"]["runPolicy"] = json!({"backoffLimit": 3, "cleanPodPolicy": "None"});
    let job = world.create(framework, &manifest);
    seconds(60).await;
    for code in [1, 0] {
        let launcher = |pod: &Value| label(pod, common::names::JOB_ROLE) == Some("launcher");
        for pod in world.shared().list(PODS).iter().filter(|pod| launcher(pod)) {
            let key = Key::new(PODS, NAMESPACE, name(pod));
            world.shared().store(|store| fail(store, &key, code, None));
        }
        seconds(60).await;
    }
    let objects = world.objects();
    assert!(
        sim::value::is_true(&objects[&job], "Succeeded"),
        "{}",
        objects[&job]["status"]
    );
    let secret = Key::new(SECRETS, NAMESPACE, "j-ssh");
    let key = objects[&secret]["stringData"]["ssh-privatekey"].as_str().unwrap();
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(
        log.contains("DEBUG") && log.contains("TRACE"),
        "all levels are logged"
    );
    assert!(log.contains("j-ssh"), "requests about the Secret are logged");
    for form in forms(key) {
        assert!(!log.contains(&form), "the key is in the log as {form}");
        for (other, object) in &objects {
            assert!(
                *other == secret || !object.to_string().contains(&form),
                "{other:?} has the key"
            );
        }
    }
    assert_eq!(*world.reads.lock().unwrap(), [""; 0]);
    println!(
        "{} bytes of logs, {} objects, events among them",
        log.len(),
        objects.len()
    );
}
