//! Configuration: options from the command line, the environment and files, and what files tell of programs.
//!
//! The command line counts before the environment, that before a file that is named, which stands for the user's own and
//! the machine's; of those two the user's own counts first. What nobody says is built in.

mod command_line;
mod fault;
mod file;
mod merged;
mod options;
mod sources;

pub use command_line::{Run, Stop, read};
pub use fault::{Document, Fault, Place, near, nearest};
pub use file::{Said, Setting};
pub use merged::{Effective, Origin, effective};
pub use options::{Kind, Opt, Table, tables};
pub use sources::{BELOW_CONFIG, MACHINE, Named, Sources, Variables, places, read_file};
