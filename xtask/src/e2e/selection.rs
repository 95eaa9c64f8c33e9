//! Which tests run, and which images they need.

use anyhow::{Result, ensure};
use cluster::images::Image;

use super::args::Args;
use crate::seed;

/// In the name of every end-to-end test that adds a node to the cluster.
const SPARE: &str = "spare_node";
/// Parts of the names of tests that need a program of another project beside the cluster, or its CRDs.
const NEED_GUESTS: [&str; 3] = ["kueue_", "coscheduling_", "volcano_"];
/// Number of tests of each group of [`BY_KIND`] in a usual run.
const CHOSEN: usize = 2;

/// Groups of tests that show the same for one kind each. A usual run takes two of each group, `--all` takes all. What is not in
/// a group runs each time: what shows a contract of a real kubelet or of a real framework, and the first example of each
/// framework.
const BY_KIND: &[&[&str]] = &[
    &[
        "life::the_whole_life_of_a_pytorch_job",
        "life::the_whole_life_of_a_tf_job",
        "life::the_whole_life_of_an_mpi_job_of_v1",
        "life::the_whole_life_of_an_mpi_job_of_v2beta1",
    ],
    &[
        "kin::jax_processes_begin_anew_together",
        "kin::xgboost_processes_begin_anew_together",
        "tensorflow::a_killed_worker_comes_back_and_the_run_ends_well",
        "training::a_killed_worker_comes_back_and_the_run_resumes",
    ],
    &[
        "kueue::kueue_lets_a_pytorchjob_wait_its_turn",
        "kueue::kueue_lets_a_tfjob_wait_its_turn",
        "kueue::kueue_lets_an_mpijob_wait_its_turn",
    ],
    &[
        "kueue::kueue_evicts_a_pytorchjob_that_comes_back",
        "kueue::kueue_evicts_a_tfjob_that_comes_back",
        "kueue::kueue_evicts_an_mpijob_that_comes_back",
    ],
    &[
        "kueue::kueue_gives_a_pytorchjob_what_its_flavor_says",
        "kueue::kueue_gives_a_tfjob_what_its_flavor_says",
        "kueue::kueue_gives_an_mpijob_what_its_flavor_says",
    ],
    &[
        "kueue::kueue_sees_a_pytorchjob_ready_when_all_pods_are",
        "kueue::kueue_sees_a_tfjob_ready_when_all_pods_are",
        "kueue::kueue_sees_an_mpijob_ready_when_all_pods_are",
    ],
];

/// Images besides the operator's, and parts of the names of the tests that run them. A test that lacks its image here fails.
const IMAGES: [(Image, &[&str]); 12] = [
    (Image::Toolbox, &[""]),
    (
        Image::PytorchDigits,
        &[
            "training::",
            "lifecycle::out_of_memory",
            "elastic::an_elastic_run",
        ],
    ),
    (Image::TensorflowDigits, &["tensorflow::"]),
    (Image::Openmpi4, &["mpi::", "mpijob"]),
    (Image::Openmpi4Bare, &["mpi::the_v1_example"]),
    (Image::Openmpi5, &["mpi::the_open_mpi_5"]),
    (Image::Mpich, &["mpi::an_allreduce"]),
    (
        Image::Xgboost,
        &["kin::the_xgboost", "kin::xgboost", "kin::mistakes"],
    ),
    (Image::Jax, &["kin::the_jax", "kin::jax"]),
    (Image::Paddle, &["kin::the_paddle"]),
    (Image::PaddlePs, &["kin::paddle_trains"]),
    (Image::Mxnet, &["kin::the_mxnet"]),
];

/// The tests of a run.
pub(super) struct Selection {
    /// Their names.
    pub(super) names: Vec<String>,
    /// Names of those of a group that are left out this time.
    left_out: Vec<&'static str>,
    seed: u64,
}

impl Selection {
    /// Chooses among all tests of the suite.
    pub(super) fn new(mut names: Vec<String>, args: &Args<'_>) -> Result<Self> {
        let seed = seed::today()?;
        let left_out = if args.all || args.only.is_some() {
            Vec::new()
        } else {
            left_out(seed)
        };
        names.retain(|name| {
            name.contains(args.only.unwrap_or_default())
                && (args.choice.is_local() || !name.contains(SPARE))
                && (args.queue || !NEED_GUESTS.iter().any(|part| name.contains(part)))
                && !left_out.contains(&name.as_str())
        });
        let only = args.only.unwrap_or_default();
        ensure!(!names.is_empty(), "no end-to-end test's name contains {only:?}");
        Ok(Self {
            names,
            left_out,
            seed,
        })
    }

    /// Images that these tests run in pods, besides the operator's.
    pub(super) fn images(&self) -> Vec<Image> {
        let needed = |parts: &[&str]| {
            self.names
                .iter()
                .any(|name| parts.iter().any(|part| name.contains(part)))
        };
        let images = IMAGES.iter().filter(|(_, parts)| needed(parts));
        images.map(|(image, _)| *image).collect()
    }

    /// Says what runs, and what does not.
    pub(super) fn describe(&self, args: &Args<'_>) {
        eprintln!("{} tests", self.names.len());
        if !args.choice.is_local() {
            eprintln!(
                "nodes cannot be added to this cluster: tests with {SPARE:?} in their names are left out"
            );
        }
        if !self.left_out.is_empty() {
            eprintln!(
                "not run today, as others show the same for two kinds ({}={}; `--all` runs them):",
                seed::VARIABLE,
                self.seed
            );
            let shown = |name: &&&str| args.queue || !NEED_GUESTS.iter().any(|part| name.contains(part));
            for name in self.left_out.iter().filter(shown) {
                eprintln!("  {name}");
            }
        }
    }
}

/// All but two of each group.
fn left_out(seed: u64) -> Vec<&'static str> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut left_out = Vec::new();
    for group in BY_KIND {
        let mut tests = group.to_vec();
        random.shuffle(&mut tests);
        left_out.extend(tests.into_iter().skip(CHOSEN));
    }
    left_out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::target::Choice;

    /// Names that `e2e/tests/times.txt` lists.
    fn known() -> Vec<String> {
        super::super::runner::known().map(str::to_owned).collect()
    }

    fn args<'a>(only: Option<&'a str>, choice: &'a Choice) -> Args<'a> {
        Args {
            only,
            queue: false,
            all: false,
            keep_cluster: false,
            choice,
        }
    }

    #[test]
    fn two_of_each_group_run_and_each_has_its_day() {
        let mut left: BTreeSet<&str> = BY_KIND.iter().flat_map(|group| group.iter().copied()).collect();
        for seed in 0..30 {
            let left_out = left_out(seed);
            for group in BY_KIND {
                let run = group.iter().filter(|test| !left_out.contains(test));
                assert_eq!(run.count(), CHOSEN);
            }
            left.retain(|test| left_out.contains(test));
        }
        assert_eq!(left, BTreeSet::new());
    }

    #[test]
    fn each_test_of_a_group_is_one() {
        let known = known();
        for test in BY_KIND.iter().flat_map(|group| group.iter()) {
            assert!(
                test.starts_with("kueue::") || known.iter().any(|name| name == test),
                "{test}"
            );
        }
    }

    #[test]
    fn all_images_are_needed_by_all_tests_and_few_by_few() {
        let choice = Choice::default();
        let mut every = args(None, &choice);
        every.all = true;
        let all = Selection::new(known(), &every).unwrap();
        assert_eq!(all.images().len(), IMAGES.len());
        let few = Selection::new(known(), &args(Some("gang::"), &choice)).unwrap();
        assert_eq!(few.images(), [Image::Toolbox]);
    }
}
