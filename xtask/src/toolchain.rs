//! The tools that make the kernel object, in the versions that make these very bytes.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::manifest::Tools;
use crate::{apt, environment, process};

/// The Rust release that compiles the kernel programs. Another one writes other bytes.
const RUST: &str = "1.95.0";
/// The bpf-linker that links them.
const BPF_LINKER: &str = "0.13.0";
/// The LLVM for bpf-linker: it has to be the one of [`RUST`], whose bitcode it reads.
const LLVM: &str = "22";

/// How to get everything in one go, at the end of each message on something missing.
const INSTALL: &str = "(`cargo xtask build-ebpf --install` does this and all else that is needed)";

/// Where the tools are and which versions they have.
pub struct Toolchain {
    /// Cargo of the pinned release.
    pub cargo: PathBuf,
    /// Its compiler.
    pub rustc: PathBuf,
    /// The linker.
    pub bpf_linker: PathBuf,
    /// Their versions, for the manifest.
    pub tools: Tools,
}

/// Finds the tools; the error names the first one missing and the command that installs it.
pub fn find() -> Result<Toolchain> {
    let rust = Rust::find()?;
    if !rust.has_sources() {
        bail!(
            "the sources of Rust's core library are missing: run `{}` {INSTALL}",
            rust.add_sources()
        );
    }
    let bpf_linker = bpf_linker()?;
    let tools = Tools {
        rustc: rust.version.clone(),
        bpf_linker: format!("bpf-linker {BPF_LINKER}"),
        llvm: llvm_of(&bpf_linker),
    };
    Ok(Toolchain {
        cargo: rust.program("cargo"),
        rustc: rust.program("rustc"),
        bpf_linker,
        tools,
    })
}

/// Installs what is missing: the pinned Rust release with its sources through rustup, LLVM through apt, bpf-linker
/// through cargo. Does nothing that is done already.
pub fn install() -> Result<()> {
    if Rust::find().is_err() {
        process::run(&mut typed(&install_rust()))?;
    }
    let rust = Rust::find()?;
    if !rust.has_sources() {
        process::run(&mut typed(&rust.add_sources()))?;
    }
    if bpf_linker().is_ok() {
        return Ok(());
    }
    let prefix = format!("/usr/lib/llvm-{LLVM}");
    if !Path::new(&prefix).join("bin/llvm-config").exists() {
        apt::install(&llvm_packages(), &[])?;
    }
    if bpf_linker().is_ok() {
        return Ok(());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(Path::new(&prefix).join("bin")).chain(env::split_paths(&path));
    let mut cargo = typed(&install_bpf_linker());
    // A user's own flags must not decide how the linker is built.
    environment::same_for_all(&mut cargo);
    cargo
        .current_dir("/")
        .env("LLVM_PREFIX", &prefix)
        .env("PATH", env::join_paths(path)?);
    process::run(&mut cargo)?;
    bpf_linker().map(|_| ())
}

/// An installed Rust toolchain.
struct Rust {
    sysroot: PathBuf,
    version: String,
    /// It is the one that plain `cargo` means here.
    is_default: bool,
}

impl Rust {
    /// Takes the active toolchain when it is the pinned release under whatever name, else asks rustup for the release.
    fn find() -> Result<Self> {
        let active = match Self::ask(Command::new("rustc"), true) {
            Some(rust) if rust.is_pinned() => return Ok(rust),
            other => other,
        };
        let mut rustup = Command::new("rustup");
        rustup.args(["run", RUST, "rustc"]);
        if let Some(rust) = Self::ask(rustup, false).filter(Self::is_pinned) {
            return Ok(rust);
        }
        let active = active.map_or_else(|| "no rustc".to_owned(), |rust| rust.version);
        bail!(
            "the kernel object is built by Rust {RUST}, and here is {active}: run `{}` {INSTALL}",
            install_rust()
        );
    }

    fn ask(mut rustc: Command, is_default: bool) -> Option<Self> {
        let sysroot = PathBuf::from(process::quiet_output(rustc.args(["--print", "sysroot"]))?);
        let version =
            process::quiet_output(Command::new(sysroot.join("bin/rustc")).arg("--version"))?;
        Some(Self {
            sysroot,
            version,
            is_default,
        })
    }

    fn is_pinned(&self) -> bool {
        self.version.split(' ').nth(1) == Some(RUST)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
    }

    fn has_sources(&self) -> bool {
        self.sysroot
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .exists()
    }

    fn add_sources(&self) -> String {
        let toolchain = if self.is_default {
            String::new()
        } else {
            format!(" --toolchain {RUST}")
        };
        format!("rustup component add rust-src{toolchain}")
    }
}

fn install_rust() -> String {
    format!("rustup toolchain install {RUST} --profile minimal --component rust-src")
}

fn install_bpf_linker() -> String {
    format!(
        "cargo install bpf-linker --version {BPF_LINKER} --locked --no-default-features --features llvm-{LLVM}"
    )
}

fn llvm_packages() -> [String; 2] {
    [format!("llvm-{LLVM}-dev"), format!("libpolly-{LLVM}-dev")]
}

/// The command line that is shown to users, as a command to run.
fn typed(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Finds bpf-linker in `PATH` or where cargo installs programs, and makes sure of its version.
fn bpf_linker() -> Result<PathBuf> {
    let how = format!(
        "run `{}`, then `LLVM_PREFIX=/usr/lib/llvm-{LLVM} PATH=/usr/lib/llvm-{LLVM}/bin:$PATH {}` {INSTALL}",
        apt::command_line(&llvm_packages()),
        install_bpf_linker()
    );
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let installed = home
        .map(|home| home.join("bin/bpf-linker"))
        .filter(|program| program.exists());
    let Some(program) = process::find("bpf-linker").or(installed) else {
        bail!("bpf-linker is missing: {how}");
    };
    let Some(version) = process::quiet_output(Command::new(&program).arg("--version")) else {
        bail!(
            "{} does not start, perhaps for want of its LLVM library: {how}",
            program.display()
        );
    };
    if version != format!("bpf-linker {BPF_LINKER}") {
        bail!(
            "{} is {version}, and {BPF_LINKER} is needed: {how}",
            program.display()
        );
    }
    Ok(program)
}

/// The version of the LLVM that a bpf-linker was linked to, as exactly as it can be told: bpf-linker does not say.
fn llvm_of(bpf_linker: &Path) -> String {
    let libraries = process::quiet_output(Command::new("ldd").arg(bpf_linker)).unwrap_or_default();
    let library = libraries
        .lines()
        .find(|line| line.contains("libLLVM"))
        .and_then(|line| line.split(' ').nth(2));
    let Some(library) = library.map(Path::new) else {
        return "built into bpf-linker".to_owned();
    };
    let config = library
        .parent()
        .map(|folder| folder.join("../bin/llvm-config"));
    config
        .and_then(|config| process::quiet_output(Command::new(config).arg("--version")))
        .unwrap_or_else(|| {
            library
                .file_name()
                .unwrap_or(library.as_os_str())
                .to_string_lossy()
                .into_owned()
        })
}
