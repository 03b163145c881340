//! Files as a program sees them: through its own root and mount namespace, never out of it, and never without end.

use std::{
    cell::{OnceCell, RefCell},
    fmt,
    fs::File,
    io::Read,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use procfs::FromRead;
use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat},
    io::Errno,
};

use crate::{accounts::accounts, model::Process};

/// Most of a file that is read. Preferences of a browser in long use have some hundred kilobytes.
const MAX_FILE: u64 = 8 * 1024 * 1024;
/// Most entries of a folder that are listed.
const MAX_ENTRIES: usize = 4096;
/// Most open files of a program that are looked at.
const MAX_OPEN_FILES: usize = 16_384;

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The program ended.
    #[error("{path} cannot be read: the program has ended")]
    Gone {
        /// What was to be read.
        path: String,
    },
    /// The system refused.
    #[error("{path} cannot be read: {reason}")]
    Refused {
        /// What was to be read.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// It is a folder, a pipe or a device.
    #[error("{path} is no file")]
    NoFile {
        /// What was to be read.
        path: String,
    },
    /// It is longer than any such file.
    #[error("{path} is longer than {} MiB and is not read", MAX_FILE / 1024 / 1024)]
    TooLong {
        /// What was to be read.
        path: String,
    },
    /// It is not what it should be.
    #[error("{path} cannot be understood: {reason}")]
    Malformed {
        /// What was read.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl Fault {
    /// A file whose content makes no sense.
    pub fn malformed(path: &str, reason: impl fmt::Display) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            reason: reason.to_string().replace('\n', " "),
        }
    }
}

/// What tells one state of a file from another: device, inode, length, time of change in seconds and nanoseconds; `None`
/// when there is no such file.
type Stamp = Option<(u64, u64, u64, i64, u64)>;

/// A file that was looked at, and how it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    path: String,
    stamp: Stamp,
}

#[cfg(test)]
impl Looked {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// What one program sees. Everything that is looked at is noted, so that a change can be told.
#[derive(Debug)]
pub struct View {
    /// Its folder in /proc; `None` for what is on disk without running.
    proc: Option<OwnedFd>,
    /// Its root folder; `None` when the program is gone or closed to view.
    root: Result<OwnedFd, Errno>,
    variables: OnceCell<Result<Vec<(String, String)>, Fault>>,
    home: OnceCell<Option<String>>,
    uid: Option<u32>,
    looked: RefCell<Vec<Looked>>,
    #[cfg(test)]
    open_files: Vec<String>,
}

impl View {
    /// What a running program sees.
    #[must_use]
    pub fn of(process: &Process) -> Self {
        let opened = open_process(process);
        let (proc, root) = match opened {
            Ok(proc) => {
                let root = openat(&proc, "root", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
                (Some(proc), root)
            }
            Err(errno) => (None, Err(errno)),
        };
        Self::new(proc, root, process.uid)
    }

    /// What a program of this user would see if it were started: `root` is the machine's own, or a folder in its place.
    #[must_use]
    pub fn of_disk(root: &Path, uid: Option<u32>) -> Self {
        let root = openat(
            CWD,
            root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let view = Self::new(None, root, uid);
        view.variables.get_or_init(|| Ok(Vec::new()));
        view
    }

    /// The same for a user of whose environment these variables are known.
    #[must_use]
    pub fn of_user(root: &Path, uid: u32, variables: Vec<(String, String)>) -> Self {
        let mut view = Self::of_disk(root, Some(uid));
        view.variables = OnceCell::from(Ok(variables));
        view
    }

    /// Nothing but what is known of the process: for events whose process cannot be looked at.
    #[must_use]
    pub fn closed(process: &Process) -> Self {
        let view = Self::new(None, Err(Errno::SRCH), process.uid);
        if let Some(environment) = &process.environment {
            view.variables.get_or_init(|| Ok(environment.clone()));
        }
        view
    }

    fn new(proc: Option<OwnedFd>, root: Result<OwnedFd, Errno>, uid: Option<u32>) -> Self {
        Self {
            proc,
            root,
            variables: OnceCell::new(),
            home: OnceCell::new(),
            uid,
            looked: RefCell::default(),
            #[cfg(test)]
            open_files: Vec::new(),
        }
    }

    /// The content of a file by its absolute path; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read, or when that cannot be told.
    pub fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(file) = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?
        else {
            return Ok(None);
        };
        let refused = |errno| fault(path, errno);
        let stat = fstat(&file).map_err(refused)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Fault::NoFile { path: path.into() });
        }
        let mut bytes = Vec::new();
        File::from(file)
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Fault::Refused {
                path: path.into(),
                reason: crate::capture::machine::plain(&error),
            })?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(Fault::TooLong { path: path.into() });
        }
        Ok(Some(bytes))
    }

    /// The content as text; what is no UTF-8 in it is replaced.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn text(&self, path: &str) -> Result<Option<String>, Fault> {
        let bytes = self.bytes(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The names in a folder, in order; none when there is no such folder.
    ///
    /// # Errors
    /// When there is one that cannot be read, or when that cannot be told.
    pub fn list(&self, path: &str) -> Result<Vec<String>, Fault> {
        let Some(folder) = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)? else {
            return Ok(Vec::new());
        };
        let refused = |errno| fault(path, errno);
        let mut names = Vec::new();
        for entry in Dir::new(folder).map_err(refused)? {
            // What is not listed may be what counts.
            if names.len() == MAX_ENTRIES {
                let reason = format!("it has more than {MAX_ENTRIES} entries");
                return Err(Fault::malformed(path, reason));
            }
            let name = entry
                .map_err(refused)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether there is a file or folder of this path.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn exists(&self, path: &str) -> Result<bool, Fault> {
        Ok(self.open(path, OFlags::PATH)?.is_some())
    }

    /// Opens below the program's root: links, absolute ones too, are followed inside it only (openat2(2),
    /// RESOLVE_IN_ROOT).
    fn open(&self, path: &str, flags: OFlags) -> Result<Option<OwnedFd>, Fault> {
        let root = self.root.as_ref().map_err(|&errno| fault(path, errno))?;
        self.note(path);
        match below(root, path, flags) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                // The folder of a program that ended is empty: that is no answer.
                if self.has_ended() {
                    Err(Fault::Gone { path: path.into() })
                } else {
                    Ok(None)
                }
            }
            Err(errno) => Err(fault(path, errno)),
        }
    }

    fn has_ended(&self) -> bool {
        self.proc
            .as_ref()
            .is_some_and(|proc| readlinkat(proc, "root", Vec::new()).is_err())
    }

    fn note(&self, path: &str) {
        let mut looked = self.looked.borrow_mut();
        if looked.iter().all(|known| known.path != path) {
            looked.push(Looked {
                path: path.to_owned(),
                stamp: self.stamp(path),
            });
        }
    }

    fn stamp(&self, path: &str) -> Stamp {
        let root = self.root.as_ref().ok()?;
        let stat = fstat(below(root, path, OFlags::PATH).ok()?).ok()?;
        Some((
            stat.st_dev,
            stat.st_ino,
            u64::try_from(stat.st_size).unwrap_or_default(),
            stat.st_mtime,
            stat.st_mtime_nsec,
        ))
    }

    /// When a file was last written, in seconds and nanoseconds; of a link that leads nowhere, when that was made.
    #[must_use]
    pub fn modified(&self, path: &str) -> Option<(i64, u64)> {
        let root = self.root.as_ref().ok()?;
        self.note(path);
        let file = below(root, path, OFlags::PATH)
            .or_else(|_| below(root, path, OFlags::PATH | OFlags::NOFOLLOW))
            .ok()?;
        let stat = fstat(file).ok()?;
        Some((stat.st_mtime, stat.st_mtime_nsec))
    }

    /// What was looked at so far.
    #[must_use]
    pub fn looked(&self) -> Vec<Looked> {
        self.looked.borrow().clone()
    }

    /// Whether what was looked at before is otherwise now.
    #[must_use]
    pub fn changed(&self, looked: &[Looked]) -> bool {
        looked
            .iter()
            .any(|looked| self.stamp(&looked.path) != looked.stamp)
    }

    /// Whether the program, or the disk, can be looked at.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.root.is_ok()
    }

    /// A variable of its environment; `None` when it has none of that name, or an empty one, which counts as none for
    /// every program here, or when the environment cannot be read ([`Self::environment_fault`]).
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables()
            .ok()?
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The user of the program.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// Why the environment cannot be read.
    #[must_use]
    pub fn environment_fault(&self) -> Option<&Fault> {
        self.variables().err()
    }

    /// Whether its environment has a variable of that name, be it empty.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.variables()
            .is_ok_and(|variables| variables.iter().any(|(known, _)| known == name))
    }

    fn variables(&self) -> Result<&Vec<(String, String)>, &Fault> {
        self.variables
            .get_or_init(|| {
                let bytes = self.of_process("environ")?;
                Ok(bytes
                    .split(|&byte| byte == 0)
                    .filter_map(|variable| {
                        let text = String::from_utf8_lossy(variable);
                        let (name, value) = text.split_once('=')?;
                        Some((name.to_owned(), value.to_owned()))
                    })
                    .collect())
            })
            .as_ref()
    }

    /// The user's home folder: by `HOME`, else by the /etc/passwd that the program sees.
    #[must_use]
    pub fn home(&self) -> Option<&str> {
        self.home
            .get_or_init(|| {
                if let Some(home) = self.variable("HOME") {
                    return Some(home.trim_end_matches('/').to_owned());
                }
                let uid = self.uid?;
                let passwd = self.text("/etc/passwd").ok()??;
                let user = accounts(&passwd).find(|account| account.uid == uid)?;
                Some(user.home_folder().to_owned())
            })
            .as_deref()
    }

    /// A path below the user's home folder.
    #[must_use]
    pub fn at_home(&self, path: &str) -> Option<String> {
        self.home().map(|home| format!("{home}/{path}"))
    }

    /// The user's configuration folder (XDG Base Directory Specification).
    #[must_use]
    pub fn config_home(&self) -> Option<String> {
        match self.variable("XDG_CONFIG_HOME") {
            Some(path) if path.starts_with('/') => Some(path.trim_end_matches('/').to_owned()),
            _ => self.at_home(".config"),
        }
    }

    /// What a link of this path says; `None` when it is no link, or cannot be read.
    #[must_use]
    pub fn link_target(&self, path: &str) -> Option<String> {
        let root = self.root.as_ref().ok()?;
        let link = below(root, path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        let target = readlinkat(link, "", Vec::new()).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    /// The program's working folder.
    #[must_use]
    pub fn working_folder(&self) -> Option<String> {
        self.link("cwd")
    }

    /// A path as the program means it: a relative one from its working folder, `~` from its home.
    #[must_use]
    pub fn absolute(&self, path: &str) -> Option<String> {
        if path.starts_with('/') {
            Some(path.to_owned())
        } else if let Some(rest) = path.strip_prefix("~/") {
            self.at_home(rest)
        } else {
            let folder = self.working_folder()?;
            Some(format!("{}/{path}", folder.trim_end_matches('/')))
        }
    }

    /// A path as the program means it.
    ///
    /// # Errors
    /// When it is relative, and its working or home folder is not known.
    pub fn meant(&self, path: &str) -> Result<String, Fault> {
        self.absolute(path).ok_or_else(|| Fault::Refused {
            path: path.to_owned(),
            reason: "its path is relative, and the folder is not known".to_owned(),
        })
    }

    /// Paths of the files that the program has open.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open_files(&self) -> Result<Vec<String>, Fault> {
        #[cfg(test)]
        if !self.open_files.is_empty() {
            return Ok(self.open_files.clone());
        }
        let path = "/proc/PID/fd";
        let Some(proc) = &self.proc else {
            return Err(Fault::Gone { path: path.into() });
        };
        let refused = |errno| fault(path, errno);
        let folder = openat(
            proc,
            "fd",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(refused)?;
        let links = folder.try_clone().map_err(|_| refused(Errno::MFILE))?;
        Ok(Dir::new(folder)
            .map_err(refused)?
            .flatten()
            .take(MAX_OPEN_FILES)
            .filter_map(|entry| readlinkat(&links, entry.file_name(), Vec::new()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .filter(|target| target.starts_with('/'))
            .collect())
    }

    /// Paths of the files that are mapped into the program, each once.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn mapped_files(&self) -> Result<Vec<String>, Fault> {
        #[cfg(test)]
        if !self.open_files.is_empty() {
            return Ok(self.open_files.clone());
        }
        let bytes = self.of_process("maps")?;
        let mut paths: Vec<String> = String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| line.find('/').map(|start| line[start..].to_owned()))
            .collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    fn link(&self, name: &str) -> Option<String> {
        let target = readlinkat(self.proc.as_ref()?, name, Vec::new()).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    /// A file of the program's folder in /proc.
    fn of_process(&self, name: &str) -> Result<Vec<u8>, Fault> {
        let path = format!("/proc/PID/{name}");
        let Some(proc) = &self.proc else {
            return Err(Fault::Gone { path });
        };
        let file = openat(proc, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| fault(&path, errno))?;
        let mut bytes = Vec::new();
        File::from(file)
            .take(MAX_FILE)
            .read_to_end(&mut bytes)
            .map_err(|_| Fault::Gone { path })?;
        Ok(bytes)
    }

    /// The same view of a program with these variables and open files, for tests.
    #[cfg(test)]
    #[must_use]
    pub fn with(mut self, variables: &[(&str, &str)], open_files: &[&str]) -> Self {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.variables = OnceCell::from(Ok(variables.iter().map(pair).collect()));
        self.open_files = open_files.iter().map(|&path| path.to_owned()).collect();
        self
    }
}

fn below(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(
        root,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Opens a process's folder in /proc, which stays that process's; one that started later has merely the same pid.
fn open_process(process: &Process) -> Result<OwnedFd, Errno> {
    let proc = openat(
        CWD,
        format!("/proc/{}", process.pid),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = openat(
        &proc,
        "stat",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = procfs::process::Stat::from_read(File::from(stat)).map_err(|_| Errno::SRCH)?;
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let started = stat.starttime.saturating_mul(1_000_000_000 / ticks);
    if process.started_ns.is_some_and(|known| known < started) {
        return Err(Errno::SRCH);
    }
    // A thread group that ended, and is waited for, has lost its root already.
    Ok(proc)
}

fn fault(path: &str, errno: Errno) -> Fault {
    match errno {
        Errno::SRCH => Fault::Gone { path: path.into() },
        Errno::NOENT => Fault::Gone { path: path.into() },
        errno => Fault::Refused {
            path: path.to_owned(),
            reason: crate::capture::machine::plain(&errno.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn disk() -> (tempfile::TempDir, View) {
        let dir = tempfile::tempdir().unwrap();
        let view = View::of_disk(dir.path(), Some(0));
        (dir, view)
    }

    #[test]
    fn there_and_not_there() {
        let (dir, view) = disk();
        fs::write(dir.path().join("a"), b"x\xffy").unwrap();
        assert_eq!(view.text("/a").unwrap().unwrap(), "x\u{fffd}y");
        assert_eq!(view.text("/b"), Ok(None));
        assert_eq!(view.text("/a/b"), Ok(None));
        assert_eq!(view.list("/").unwrap(), ["a"]);
        assert!(view.list("/c").unwrap().is_empty());
        assert!(view.exists("/a").unwrap() && !view.exists("/b").unwrap());
    }

    #[test]
    fn links_do_not_lead_out() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let (dir, view) = disk();
        symlink(outside.path().join("secret"), dir.path().join("absolute")).unwrap();
        symlink("../../../../../../../etc/passwd", dir.path().join("up")).unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), "own").unwrap();
        assert_eq!(view.text("/absolute"), Ok(None));
        assert_eq!(view.text("/up").unwrap().unwrap(), "own");
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(matches!(view.text("/loop"), Err(Fault::Refused { .. })));
    }

    #[test]
    fn what_is_no_file_or_too_long_is_not_read() {
        let (dir, view) = disk();
        rustix::fs::mkfifoat(CWD, dir.path().join("pipe"), Mode::RUSR).unwrap();
        assert!(matches!(view.bytes("/pipe"), Err(Fault::NoFile { .. })));
        assert!(matches!(view.bytes("/"), Err(Fault::NoFile { .. })));
        File::create(dir.path().join("long"))
            .unwrap()
            .set_len(100 * 1024 * 1024)
            .unwrap();
        assert!(matches!(view.bytes("/long"), Err(Fault::TooLong { .. })));
    }

    #[test]
    fn a_change_is_noticed() {
        let (dir, view) = disk();
        let path = dir.path().join("a");
        fs::write(&path, "1").unwrap();
        let _ = (view.text("/a"), view.text("/later"));
        let looked = view.looked();
        assert!(!view.changed(&looked));
        fs::write(&path, "12").unwrap();
        assert!(view.changed(&looked));
        fs::write(&path, "1").unwrap();
        fs::write(dir.path().join("later"), "").unwrap();
        assert!(view.changed(&looked), "it was not there before");
    }

    #[test]
    fn a_program_that_is_gone_says_nothing() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::unread(child.id(), Some(0));
        child.wait().unwrap();
        let view = View::of(&process);
        assert!(matches!(view.text("/etc/passwd"), Err(Fault::Gone { .. })));
        assert!(view.environment_fault().is_some());
        assert!(!view.is_open());
    }

    #[test]
    fn this_program_sees_its_files() {
        let view = View::of(&Process::unread(std::process::id(), Some(0)));
        assert!(view.text("/etc/passwd").unwrap().is_some());
        assert_eq!(view.variable("PATH"), std::env::var("PATH").ok().as_deref());
        assert_eq!(
            view.working_folder().as_deref(),
            std::env::current_dir().unwrap().to_str()
        );
        assert!(!view.mapped_files().unwrap().is_empty());
        assert!(!view.open_files().unwrap().is_empty());
    }

    #[test]
    fn homes() {
        let (dir, view) = disk();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(
            dir.path().join("etc/passwd"),
            "x\nroot:x:0:0:root:/root:/bin/sh\n",
        )
        .unwrap();
        assert_eq!(view.home(), Some("/root"));
        assert_eq!(view.config_home().as_deref(), Some("/root/.config"));
        let set = disk()
            .1
            .with(&[("HOME", "/h/"), ("XDG_CONFIG_HOME", "/c")], &[]);
        assert_eq!(set.at_home("x").as_deref(), Some("/h/x"));
        assert_eq!(set.config_home().as_deref(), Some("/c"));
        assert_eq!(set.absolute("~/y").as_deref(), Some("/h/y"));
    }
}
