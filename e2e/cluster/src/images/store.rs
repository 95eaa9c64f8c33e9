//! The cache of image archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::image::Image;

/// Raised when the same inputs give another archive.
pub(super) const REVISION: &str = "1";
/// The age at which a replaced archive is removed; some are more than a gigabyte.
const OUTDATED_AFTER: Duration = Duration::from_hours(24);

/// The archive of a key: made under another name, then renamed.
pub(super) fn cached(
    image: Image,
    folder: &Path,
    key: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let archive = folder.join(format!("{}-{key}.tar", image.name()));
    if !archive.exists() {
        let temporary = archive.with_extension("partial");
        make(&temporary)?;
        fs::rename(&temporary, &archive)?;
        remove_outdated(image, folder, &archive)?;
    }
    Ok(archive)
}

/// Removes archives of the image that a changed input has replaced. Young ones stay: another process may be about
/// to load one.
fn remove_outdated(image: Image, folder: &Path, newest: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, entry) = entry.map(|entry| (entry.path(), entry))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let key = name
            .strip_prefix(image.name())
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".tar"));
        let same_image = key.is_some_and(|key| key.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let old = entry
            .metadata()?
            .modified()?
            .elapsed()
            .is_ok_and(|age| age > OUTDATED_AFTER);
        if same_image && old && path != newest {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_outdated_archives_of_the_image_are_removed() {
        let folder = std::env::temp_dir().join(format!("images-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let long_ago = std::time::SystemTime::now() - OUTDATED_AFTER * 2;
        let file = |name: &str, old: bool| {
            let path = folder.join(name);
            let file = fs::File::create(&path).unwrap();
            if old {
                file.set_modified(long_ago).unwrap();
            }
            path
        };
        let outdated = file("toolbox-00ff.tar", true);
        let kept = [
            file("toolbox-11ff.tar", false),
            file("operator-00ff.tar", true),
            file("toolbox-base-00ff.layer", true),
            file("toolbox-22ff.tar", true),
        ];
        remove_outdated(Image::Toolbox, &folder, &kept[3]).unwrap();
        assert!(!outdated.exists() && kept.iter().all(|path| path.exists()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
