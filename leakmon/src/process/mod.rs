//! Who did it: the table of processes, and which of them a person would call one program.

mod app;
mod container;
mod environment;
mod interfaces;
mod reader;
mod table;

pub use app::app_of;
pub use interfaces::Interfaces;
pub use reader::{Arguments, Reader};
pub use table::Table;
