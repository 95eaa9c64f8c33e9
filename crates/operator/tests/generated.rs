//! `deploy/` and the pages of some kinds hold what the program says. With `TRAINYARD_WRITE=1` the files are written instead of compared;
//! `cargo xtask codegen` does that.

use std::path::Path;

use operator::manifests;

mod pages;

#[test]
fn deploy_and_the_pages_of_kinds_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let write = std::env::var_os("TRAINYARD_WRITE").is_some();
    let mut stale = Vec::new();
    let deploy = manifests::files(operator::FRAMEWORKS).unwrap();
    let deploy = deploy
        .into_iter()
        .map(|(path, text)| (format!("deploy/{path}"), text));
    for (path, text) in deploy.chain(pages::files(operator::FRAMEWORKS, &root)) {
        let file = root.join(&path);
        if std::fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        if write {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        }
        stale.push(path);
    }
    assert!(
        write || stale.is_empty(),
        "stale: {stale:?}; run `cargo xtask codegen`"
    );
}
