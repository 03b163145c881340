//! The configuration file.

use std::{fs, io, path::Path};

use crate::posture::Programs;

/// The machine's configuration.
pub const MACHINE: &str = "/etc/leakmon.toml";
/// The user's own, below their configuration folder.
pub const BELOW_CONFIG: &str = "leakmon/config.toml";
/// Most of a configuration that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads what the user says of programs: from the file that was named, else from the machine's and then the user's own,
/// of which the later one counts.
///
/// # Errors
/// When the named file is missing, or one of them cannot be read or understood.
pub fn load(named: Option<&Path>) -> anyhow::Result<Programs> {
    let mut programs = Programs::default();
    if let Some(path) = named {
        let found = add(&mut programs, path)?;
        anyhow::ensure!(
            found,
            "{} does not exist: --config names a file in TOML",
            path.display()
        );
        return Ok(programs);
    }
    add(&mut programs, Path::new(MACHINE))?;
    if let Some(folder) = folder() {
        add(&mut programs, &Path::new(&folder).join(BELOW_CONFIG))?;
    }
    Ok(programs)
}

/// The configuration folder of the user that runs leakmon (XDG Base Directory Specification).
fn folder() -> Option<String> {
    let absolute = |name| {
        std::env::var(name)
            .ok()
            .filter(|path| path.starts_with('/'))
    };
    absolute("XDG_CONFIG_HOME").or_else(|| Some(format!("{}/.config", absolute("HOME")?)))
}

/// Adds what a file says; false when there is none.
fn add(programs: &mut Programs, path: &Path) -> anyhow::Result<bool> {
    let shown = path.display();
    let unread = |error: &io::Error| {
        anyhow::anyhow!(
            "{shown} cannot be read: {}",
            crate::capture::machine::plain(error)
        )
    };
    let length = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => anyhow::bail!("{shown} is a folder, no file"),
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unread(&error)),
    };
    anyhow::ensure!(
        length <= MAX_BYTES,
        "{shown} is longer than any configuration: {length} bytes"
    );
    let text = fs::read_to_string(path).map_err(|error| unread(&error))?;
    programs.replace_by(Programs::parse(&text, &shown.to_string())?);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let missing = load(Some(&path)).unwrap_err().to_string();
        assert!(missing.contains("does not exist"), "{missing}");
        fs::write(&path, "[[program]]\nname = [\"x\"]\n").unwrap();
        assert_eq!(load(Some(&path)).unwrap().programs.len(), 1);
        fs::write(&path, "[[program]]\nnmae = [\"x\"]\n").unwrap();
        let wrong = load(Some(&path)).unwrap_err().to_string();
        assert!(wrong.contains("c.toml, line 2"), "{wrong}");
        assert!(load(Some(dir.path())).is_err());
    }
}
