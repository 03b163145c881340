//! `cargo xtask build-ebpf`: the kernel object, built so that the same sources give the same bytes everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::manifest::{self, Manifest, Tools};
use crate::toolchain::{self, Toolchain};
use crate::{environment, process, repo, rustc_wrapper};

/// Build the kernel object that is committed beside the kernel programs.
#[derive(clap::Args)]
pub struct Args {
    /// Rebuild elsewhere and compare with the committed object, writing nothing
    #[arg(long)]
    check: bool,
    /// Build an object that logs from inside the kernel, for developers, into target/ebpf-log
    #[arg(long, conflicts_with = "check")]
    debug_log: bool,
    /// First install what is missing of the tools that the build needs
    #[arg(long)]
    install: bool,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.install {
        toolchain::install()?;
    }
    let toolchain = toolchain::find()?;
    if args.check {
        check(&toolchain)
    } else if args.debug_log {
        build_logging(&toolchain)
    } else {
        build(&toolchain)
    }
}

/// Builds the object that logs and returns success; `cargo xtask run --ebpf-log` needs no more than that.
pub fn run_debug_log() -> Result<ExitCode> {
    build_logging(&toolchain::find()?)
}

/// Builds the object and its manifest into the repository.
fn build(toolchain: &Toolchain) -> Result<ExitCode> {
    let root = repo::root();
    let sources_sha256 = manifest::sources_sha256(&root)?;
    let built = compile(toolchain, &root, &repo::target_dir()?.join("ebpf"), &[])?;
    let object = read(&built)?;
    ensure!(
        sources_sha256 == manifest::sources_sha256(&root)?,
        "the sources of the kernel programs changed during their build: run it again"
    );
    let object_sha256 = manifest::sha256(&object);
    let manifest = Manifest {
        sources_sha256,
        object_sha256,
        tools: toolchain.tools.clone(),
    };
    replace(&root.join(repo::OBJECT), &object)?;
    replace(&root.join(repo::MANIFEST), manifest.to_text()?.as_bytes())?;
    println!(
        "{}: {} bytes, sha256 {}",
        repo::OBJECT,
        object.len(),
        manifest.object_sha256
    );
    Ok(ExitCode::SUCCESS)
}

/// Builds the object that logs, for `leakmon` with its feature `ebpf-log`.
fn build_logging(toolchain: &Toolchain) -> Result<ExitCode> {
    let folder = repo::target_dir()?.join("ebpf-log");
    let built = compile(toolchain, &repo::root(), &folder, &["--features", "log"])?;
    let object = folder.join("leakmon.bpf.o");
    replace(&object, &read(&built)?)?;
    println!("{}", object.display());
    Ok(ExitCode::SUCCESS)
}

/// Rebuilds the object from a copy of its sources in another folder and compares it with the committed one.
///
/// The copy holds nothing but what the manifest's sum counts, and the root's Cargo.toml, so that a build that needs
/// anything else fails here.
fn check(toolchain: &Toolchain) -> Result<ExitCode> {
    let root = repo::root();
    let committed = Manifest::read(&root)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut sources = manifest::sources(&root)?;
    sources.push(PathBuf::from("Cargo.toml"));
    for path in &sources {
        let copy = folder.path().join(path);
        fs::create_dir_all(copy.parent().unwrap_or(folder.path()))
            .and_then(|()| fs::copy(root.join(path), &copy))
            .with_context(|| format!("cannot copy {} to {}", path.display(), copy.display()))?;
    }
    let rebuilt = manifest::sha256(&read(&compile(
        toolchain,
        folder.path(),
        &folder.path().join("target"),
        &[],
    )?)?);
    let object = manifest::sha256(&read(&root.join(repo::OBJECT))?);
    let sources = manifest::sources_sha256(&root)?;

    let mut wrong = Vec::new();
    if object != rebuilt {
        wrong.push(format!(
            "{} has sha256 {object}, and its sources build one with sha256 {rebuilt}",
            repo::OBJECT
        ));
        wrong.extend(other_tools(&committed.tools, &toolchain.tools));
    }
    if object != committed.object_sha256 {
        wrong.push(format!(
            "{} has sha256 {object}, and its manifest says {}",
            repo::OBJECT,
            committed.object_sha256
        ));
    }
    if sources != committed.sources_sha256 {
        wrong.push(format!(
            "the sources have sha256 {sources}, and the manifest says {}",
            committed.sources_sha256
        ));
    }
    if wrong.is_empty() {
        println!(
            "{} is what its sources build: sha256 {object}",
            repo::OBJECT
        );
        return Ok(ExitCode::SUCCESS);
    }
    wrong.push("run `cargo xtask build-ebpf` and commit the object with its manifest".to_owned());
    eprintln!("error: {}", wrong.join("\n  "));
    Ok(ExitCode::FAILURE)
}

/// Says which tools differ from those that made the committed object: they may be all there is to a difference.
fn other_tools(committed: &Tools, here: &Tools) -> Vec<String> {
    let pairs = [
        ("rustc", &committed.rustc, &here.rustc),
        ("bpf-linker", &committed.bpf_linker, &here.bpf_linker),
        ("LLVM", &committed.llvm, &here.llvm),
    ];
    let differing = pairs
        .into_iter()
        .filter(|(_, committed, here)| committed != here);
    differing
        .map(|(name, committed, here)| {
            format!("it may be the tools and not the sources: {name} was {committed}, and here is {here}")
        })
        .collect()
}

/// Compiles the kernel programs of the repository (or of a copy) at `root` and returns where the object is.
fn compile(toolchain: &Toolchain, root: &Path, target: &Path, options: &[&str]) -> Result<PathBuf> {
    let mut cargo = Command::new(&toolchain.cargo);
    environment::same_for_all(&mut cargo);
    let mut linker = std::ffi::OsString::from("-Clinker=");
    linker.push(&toolchain.bpf_linker);
    // These flags take the place of all others, of the environment's and of every configuration file.
    let separator = std::ffi::OsStr::new("\x1f");
    let flags = [
        &*linker,
        "-Clink-arg=--btf".as_ref(),
        "-Cdebuginfo=2".as_ref(),
        // 32-bit operations and jumps, which the verifier follows better; kernels have them from 5.1 on.
        "-Ctarget-cpu=v3".as_ref(),
    ]
    .join(separator);
    cargo
        .current_dir(root.join("leakmon-ebpf"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("RUSTC", &toolchain.rustc)
        // `-Z build-std` is what makes a core library for a target that has none; the rest is stable Rust.
        .env("RUSTC_BOOTSTRAP", "1")
        // aya-ebpf has bindings for each architecture. Nothing here depends on one, and the object shall not depend
        // on which one it was built on.
        .env("AYA_BPF_TARGET_ARCH", "x86_64")
        .args([
            "build",
            "--locked",
            "--release",
            "-Z",
            "build-std=core",
            "--target",
            rustc_wrapper::TARGET,
        ])
        .arg("--target-dir")
        .arg(target)
        .args(options);
    rustc_wrapper::wrap(&mut cargo)?;
    if !process::succeeds(&mut cargo)? {
        bail!("the kernel programs do not build: the compiler's messages are above");
    }
    Ok(target.join(rustc_wrapper::TARGET).join("release/leakmon"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file in one step, and not at all when it has this content: what is built from it stays fresh.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let new = path.with_extension("new");
    fs::write(&new, content)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
