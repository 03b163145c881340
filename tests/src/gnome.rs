//! GNOME's settings without a desktop: a database that dconf itself makes of a key file.

use crate::lab::Lab;
use std::fs;

/// The user's own database, below the home folder.
pub const USER: &str = ".config/dconf/user";

/// A key file with a SOCKS proxy for everything.
#[must_use]
pub fn socks(host: &str, port: u16) -> String {
    format!(
        "[system/proxy]\nmode='manual'\nignore-hosts=['localhost', '*.lan']\n\n[system/proxy/socks]\nhost='{host}'\nport={port}\n"
    )
}

/// Has dconf make a database, by its path below the lab's folder, of a key file's text, with locks if there are any.
pub fn compile(lab: &Lab, path: &str, text: &str, locks: Option<&str>) {
    let (path, source) = (lab.dir().join(path), lab.dir().join("source"));
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(source.join("locks")).expect("a folder can be made");
    fs::create_dir_all(path.parent().expect("it has one")).expect("a folder can be made");
    fs::write(source.join("keys"), text).expect("a file can be written");
    if let Some(locks) = locks {
        fs::write(source.join("locks/keys"), locks).expect("a file can be written");
    }
    let (path, source) = (path.to_str().expect("text"), source.to_str().expect("text"));
    let (_, compiled) = lab.run("dconf", &["compile", path, source]);
    assert!(compiled.status.success(), "{compiled:?}");
}
