//! The guest's whole system: an initramfs (cpio, "new ASCII" format) with leakmon, vm-init, and the programs that are
//! installed here with their libraries.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

use super::guest::Built;
use super::kernel::Kernel;
use crate::process;

/// The programs that vm-init runs.
pub const PROGRAMS: [&str; 6] = ["curl", "dig", "dnsmasq", "getent", "ip", "microsocks"];

/// Where programs are looked for, and are then found in the guest; it has no symbolic links such as /bin.
const SEARCHED: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The guest's settings.
const SETTINGS: [(&str, &str); 5] = [
    ("etc/group", "root:x:0:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
    ("etc/passwd", "root:x:0:0:root:/:/\n"),
    ("etc/resolv.conf", "nameserver 127.0.0.1\n"),
];

/// What is under a path.
enum Content {
    Folder,
    File(PathBuf),
    Text(&'static str),
}

/// Writes the initramfs for a kernel.
pub fn write(to: &Path, kernel: &Kernel, built: &Built) -> Result<()> {
    let mut files = vec![
        ("init".to_owned(), Content::File(built.init.clone())),
        ("leakmon".to_owned(), Content::File(built.leakmon.clone())),
    ];
    for (path, text) in SETTINGS {
        files.push((path.to_owned(), Content::Text(text)));
    }
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        files.push((format!("modules/{name}"), Content::File(module.clone())));
    }
    for path in programs(&built.init)? {
        let name = path.to_string_lossy().trim_start_matches('/').to_owned();
        files.push((name, Content::File(path)));
    }
    let failed = || format!("cannot write {}", to.display());
    let mut archive = BufWriter::new(File::create(to).with_context(failed)?);
    for folder in folders(files.iter().map(|(path, _)| path.as_str())) {
        add(&mut archive, &folder, &Content::Folder)?;
    }
    for (path, content) in &files {
        add(&mut archive, path, content).with_context(|| format!("cannot pack {path}"))?;
    }
    let mut archive = trailer(archive).with_context(failed)?;
    archive.flush().with_context(failed)
}

/// Every folder above these paths, each after the one that it is in.
fn folders<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    paths
        .flat_map(|path| Path::new(path).ancestors().skip(1))
        .map(|folder| folder.to_string_lossy().into_owned())
        .filter(|folder| !folder.is_empty())
        .collect()
}

fn add(archive: &mut impl Write, path: &str, content: &Content) -> Result<()> {
    let entry = Builder::new(path).nlink(1);
    let (entry, bytes) = match content {
        Content::Folder => (
            entry
                .mode(0o755)
                .set_mode_file_type(ModeFileType::Directory),
            vec![],
        ),
        // A program, a library or a module: none minds being executable.
        Content::File(from) => (
            entry.mode(0o755).set_mode_file_type(ModeFileType::Regular),
            fs::read(from)?,
        ),
        Content::Text(text) => (
            entry.mode(0o644).set_mode_file_type(ModeFileType::Regular),
            text.as_bytes().to_vec(),
        ),
    };
    let mut writer = entry.write(archive, u32::try_from(bytes.len())?);
    writer.write_all(&bytes)?;
    writer.finish()?;
    Ok(())
}

/// The programs, and the libraries that they and the first process are linked to.
fn programs(init: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = libraries_of(init)?;
    for program in PROGRAMS {
        let path = process::find_in(SEARCHED.as_ref(), program)
            .with_context(|| format!("{program} is missing"))?;
        files.append(&mut libraries_of(&path)?);
        files.insert(path);
    }
    Ok(files)
}

fn libraries_of(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let linked = process::output(Command::new("ldd").arg(program))?;
    Ok(libraries(&linked).collect())
}

/// The files in the output of ldd(1), the dynamic linker among them.
fn libraries(linked: &str) -> impl Iterator<Item = PathBuf> {
    linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let linked = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<_> = libraries(linked).collect();
        assert_eq!(
            found,
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let found: Vec<_> = folders(["init", "usr/bin/dig", "usr/lib/x"].into_iter())
            .into_iter()
            .collect();
        assert_eq!(found, ["usr", "usr/bin", "usr/lib"]);
    }
}
