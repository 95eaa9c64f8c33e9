//! What the images of Debian packages are made of.

/// A release of Debian, and the Python in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) python: &'static str,
}

const BOOKWORM: Suite = Suite {
    name: "bookworm",
    python: "3.11",
};
const TRIXIE: Suite = Suite {
    name: "trixie",
    python: "3.13",
};
/// All of them; a machine of one can install the others from the same mirror.
pub(super) const SUITES: [Suite; 2] = [BOOKWORM, TRIXIE];

/// One image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub(super) suite: Suite,
    /// Folders of `e2e/images`, in the order in which their `setup.sh` run.
    pub(super) parts: &'static [&'static str],
    pub(super) cmd: &'static [&'static str],
    /// Beyond what all these images have.
    pub(super) env: &'static [(&'static str, &'static str)],
}

/// mpirun asks for both before it runs as root, which in a container is nothing special.
const OPENMPI_AS_ROOT: &[(&str, &str)] = &[
    ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
];
const PI: &[&str] = &["mpirun", "/opt/trainyard/pi.py"];

/// PyTorch.
pub(super) const PYTORCH_DIGITS: Recipe = Recipe {
    suite: BOOKWORM,
    parts: &["pytorch-digits"],
    cmd: &["python3", "/opt/trainyard/train.py"],
    env: &[],
};

/// Open MPI 4, the last one with ORTE.
pub(super) const OPENMPI4: Recipe = Recipe {
    suite: BOOKWORM,
    parts: &["slim", "digits", "openmpi", "ssh", "mpi"],
    cmd: PI,
    env: OPENMPI_AS_ROOT,
};

/// The same without ssh, for jobs that reach their workers through the API server.
pub(super) const OPENMPI4_BARE: Recipe = Recipe {
    parts: &["slim", "digits", "openmpi", "mpi"],
    ..OPENMPI4
};

/// Open MPI 5, with PRRTE in ORTE's place.
pub(super) const OPENMPI5: Recipe = Recipe {
    suite: TRIXIE,
    ..OPENMPI4
};

/// MPICH.
pub(super) const MPICH: Recipe = Recipe {
    suite: BOOKWORM,
    parts: &["slim", "digits", "mpich", "ssh", "mpi"],
    cmd: PI,
    env: &[],
};

/// TensorFlow.
pub(super) const TENSORFLOW_DIGITS: Recipe = Recipe {
    suite: BOOKWORM,
    parts: &["slim", "digits", "tensorflow-digits"],
    cmd: &["python3", "/opt/trainyard/multiworker.py"],
    env: &[("TF_CPP_MIN_LOG_LEVEL", "1")],
};

const TRAIN: &[&str] = &["python3", "/opt/trainyard/train.py"];

/// XGBoost.
pub(super) const XGBOOST: Recipe = Recipe {
    suite: BOOKWORM,
    parts: &["slim", "wheels", "process", "xgboost"],
    cmd: TRAIN,
    env: &[],
};

/// JAX.
pub(super) const JAX: Recipe = Recipe {
    suite: BOOKWORM,
    parts: &["slim", "wheels", "process", "digits", "jax"],
    cmd: TRAIN,
    env: &[],
};

/// PaddlePaddle; its launcher writes logs, which must not need a folder beside the programs.
pub(super) const PADDLE: Recipe = Recipe {
    suite: BOOKWORM,
    parts: &["slim", "wheels", "process", "digits", "paddle"],
    cmd: &[
        "python3",
        "-m",
        "paddle.distributed.launch",
        "/opt/trainyard/train.py",
    ],
    env: &[("PADDLE_LOG_DIR", "/tmp/log")],
};

/// The last release of PaddlePaddle whose packages have parameter servers.
pub(super) const PADDLE_PS: Recipe = Recipe {
    parts: &["slim", "wheels", "process", "digits", "paddle-ps"],
    cmd: &[
        "python3",
        "-m",
        "paddle.distributed.launch",
        "/opt/trainyard/parameter_server.py",
    ],
    ..PADDLE
};

/// MXNet.
pub(super) const MXNET: Recipe = Recipe {
    suite: BOOKWORM,
    parts: &["slim", "wheels", "process", "digits", "mxnet"],
    cmd: TRAIN,
    env: &[],
};
