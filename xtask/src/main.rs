//! leakmon's developer commands, as `cargo xtask COMMAND`.
//!
//! Exit codes: 0 done, 1 a check or a test failed, 2 the command could not do its work.

mod apt;
mod bench;
mod build_ebpf;
mod environment;
mod lab;
mod manifest;
mod packages;
mod picture;
mod process;
mod repo;
mod run;
mod rustc_wrapper;
mod test;
mod toolchain;
mod unpacked;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// leakmon's developer commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure what leakmon costs, beside a run without it and beside tcpdump
    Bench(bench::Args),
    /// Build the kernel object that is committed beside the kernel programs
    BuildEbpf(build_ebpf::Args),
    /// Make the README's picture of a real run
    Picture(picture::Args),
    /// Build leakmon and run it, as root
    Run(run::Args),
    /// Install what the tests need and run them all
    Test(test::Args),
    /// Run the capture tests under Debian's own kernels, in virtual machines
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let done = if rustc_wrapper::is_asked() {
        rustc_wrapper::exec()
    } else {
        match Cli::parse().command {
            Command::Bench(args) => bench::run(&args),
            Command::BuildEbpf(args) => build_ebpf::run(&args),
            Command::Picture(args) => picture::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Test(args) => test::run(&args),
            Command::Vm(args) => vm::run(&args),
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
