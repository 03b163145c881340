//! Files as an enemy would write them, in the place of each file that is looked at, for a program of every family.

mod cases;

use std::{fs, os::unix::fs::symlink, path::Path, path::PathBuf};

use rustix::fs::{CWD, Mode, mkfifoat};

use cases::{CASES, Case, HONEST, NOTHING, OUTSIDE, PREFS, UID};

use super::{Posture, Programs, Subject, View, posture_of};
use crate::model::{Process, Resolves};

/// What comes in the place of a file.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Bytes(&'static str, Vec<u8>),
    Sparse,
    Folder,
    Pipe,
    Loop,
    Link(PathBuf),
    Closed,
}

impl Damage {
    /// Those of a file with this honest content.
    fn all(honest: &[u8], outside: &Path) -> Vec<Self> {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let noise = (0..4096)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.to_le_bytes()[3]
            })
            .collect();
        let up = Path::new("../../../../../../../../../../..");
        let mut all = vec![
            Self::None,
            Self::Bytes("empty", Vec::new()),
            Self::Bytes("noise", noise),
            Self::Bytes(
                "no UTF-8",
                [b"\xff\xfe\xc3(".as_slice(), honest, b"\xf0\x28"].concat(),
            ),
            Self::Bytes("no end of line", honest.trim_ascii_end().to_vec()),
            Self::Sparse,
            Self::Folder,
            Self::Pipe,
            Self::Loop,
            Self::Link(outside.to_owned()),
            Self::Link(up.join(outside.strip_prefix("/").unwrap())),
            Self::Link("/proc/self/root".into()),
            Self::Closed,
        ];
        for part in 1..8 {
            let cut = honest.get(..honest.len() * part / 8).unwrap();
            all.push(Self::Bytes("cut", cut.to_vec()));
        }
        for deep in [
            "[", "{", "{\"a\":", "[{\"a\":", "(", "try{", "/*", "\"", "route {", "\\\n",
        ] {
            all.push(Self::Bytes("deep", deep.repeat(65_536 / deep.len()).into()));
        }
        all
    }

    fn put(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match self {
            Self::None => {}
            Self::Bytes(_, bytes) => fs::write(path, bytes).unwrap(),
            Self::Sparse => fs::File::create(path)
                .unwrap()
                .set_len(100 * 1024 * 1024)
                .unwrap(),
            Self::Folder => fs::create_dir(path).unwrap(),
            Self::Pipe => mkfifoat(CWD, path, Mode::RUSR).unwrap(),
            Self::Loop => symlink(path.file_name().unwrap(), path).unwrap(),
            Self::Link(to) => symlink(to, path).unwrap(),
            Self::Closed => {
                fs::write(path, "x").unwrap();
                fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o000))
                    .unwrap();
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Bytes(name, bytes) => format!("{name}, {} bytes", bytes.len()),
            other => format!("{other:?}"),
        }
    }

    /// Whether the file is there and cannot be read at all.
    fn is_unreadable(&self, path: &Path) -> bool {
        match self {
            Self::Sparse | Self::Folder | Self::Pipe | Self::Loop => true,
            // Nothing is closed to root.
            Self::Closed => fs::read(path).is_err(),
            _ => false,
        }
    }
}

fn remove(path: &Path) {
    let removed = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    assert!(
        removed.is_ok() || fs::symlink_metadata(path).is_err(),
        "{path:?}"
    );
}

impl Case {
    fn root(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let passwd = format!("me:x:{UID}:{UID}::/home/me:/bin/sh\n");
        self.write(dir.path(), "/etc/passwd", passwd.as_bytes());
        for (path, bytes) in self.files {
            self.write(dir.path(), path, bytes);
        }
        dir
    }

    fn write(&self, root: &Path, path: &str, bytes: &[u8]) {
        let path = inside(root, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn view(&self, root: &Path) -> View {
        View::of_disk(root, Some(UID)).with(self.variables, self.open_files)
    }

    fn posture(&self, view: &View) -> Posture {
        let arguments = self.arguments.iter().map(|&argument| argument.to_owned());
        let process = Process {
            exe: Some(self.exe.to_owned()),
            cmdline: Some(
                std::iter::once(self.exe.to_owned())
                    .chain(arguments)
                    .collect(),
            ),
            ..Process::unread(7, Some(UID))
        };
        posture_of(&Subject {
            process: &process,
            view,
            programs: &Programs::default(),
        })
    }

    /// What is looked at with the honest files.
    fn looked(&self) -> Vec<String> {
        let dir = self.root();
        let view = self.view(dir.path());
        let posture = self.posture(&view);
        let said = format!("{posture:?}");
        assert_eq!(
            said.contains(HONEST),
            self.is_proxied,
            "{}: {said}",
            self.exe
        );
        let looked: Vec<String> = view
            .looked()
            .iter()
            .map(|one| one.path().to_owned())
            .collect();
        for path in self.decide {
            assert!(looked.iter().any(|one| one == path), "{path} of {looked:?}");
        }
        looked
    }

    fn honest(&self, path: &str) -> &'static [u8] {
        let found = self.files.iter().find(|(known, _)| *known == path);
        found.map_or(PREFS, |(_, bytes)| bytes)
    }
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn swapped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at: Vec<usize> = bytes
        .windows(HONEST.len())
        .enumerate()
        .filter(|(_, window)| *window == HONEST.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in at {
        bytes[at..at + OUTSIDE.len()].copy_from_slice(OUTSIDE.as_bytes());
    }
    bytes
}

#[test]
fn files_of_an_enemy() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("file");
    let mut wrong: Vec<String> = Vec::new();
    for case in CASES {
        let dir = case.root();
        for path in case.looked() {
            let target = inside(dir.path(), &path);
            let honest = case.honest(&path);
            fs::write(&secret, swapped(honest)).unwrap();
            let before = fs::read(&target).ok();
            let was_folder = target.is_dir();
            if was_folder {
                // A folder is put aside with all that is in it.
                fs::rename(&target, outside.path().join("aside")).unwrap();
            }
            for damage in Damage::all(honest, &secret) {
                remove(&target);
                damage.put(&target);
                let posture = case.posture(&case.view(dir.path()));
                let said = format!("{posture:?}");
                let is_named = || {
                    let all = posture.evidence.iter().chain(&posture.overruled);
                    all.into_iter().any(|one| one.detail.contains(&path))
                };
                let is_certain = posture.leaks.iter().any(|leak| leak.certain);
                let is_hidden = case.decide.contains(&path.as_str())
                    && damage.is_unreadable(&target)
                    && (is_certain || posture.resolves() != Resolves::Unknown && !is_named());
                if said.contains(OUTSIDE) || is_hidden {
                    wrong.push(format!(
                        "{} with {path} as {}: {said}",
                        case.exe,
                        damage.name()
                    ));
                }
            }
            remove(&target);
            if was_folder {
                fs::rename(outside.path().join("aside"), &target).unwrap();
            } else if let Some(bytes) = before {
                fs::write(&target, bytes).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One that asks for more work than any honest file: it ends, and what was not looked at leaves the answer open.
#[test]
fn files_without_end() {
    let many = |line: &str, count: usize| line.repeat(count).into_bytes();
    let numbered = |of: &dyn Fn(usize) -> String| (0..200_000).map(of).collect::<String>();
    for (exe, arguments, variables, path, bytes, is_open) in [
        (
            "/usr/bin/ssh",
            &["host"][..],
            &[][..],
            "/home/me/.ssh/config",
            many("Include /many/x*\n", 400_000),
            true,
        ),
        (
            "/usr/bin/ssh",
            &["-D1", "host"],
            &[],
            "/home/me/.ssh/config",
            many("Include /many/x*\n", 400_000),
            false,
        ),
        (
            "/usr/bin/tor",
            &[],
            &[],
            "/etc/tor/torrc",
            many("%include /many/x*\n", 400_000),
            false,
        ),
        (
            "/usr/bin/git",
            &["fetch", "https://a.example/x"],
            &[],
            "/home/me/.gitconfig",
            many("[includeIf \"gitdir:/\"]\npath = /big\n", 200_000),
            true,
        ),
        (
            "/usr/bin/curl",
            &[],
            &[],
            "/home/me/.curlrc",
            numbered(&|n| format!("proxy=h{n}\nurl=a\nnext\n")).into_bytes(),
            true,
        ),
        (
            "/usr/bin/epiphany",
            &[],
            &[
                ("XDG_CURRENT_DESKTOP", "GNOME"),
                ("DCONF_PROFILE", "/p/profile"),
            ],
            "/p/profile",
            many("file-db:/big\n", 400_000),
            true,
        ),
        (
            "/usr/bin/epiphany",
            &[],
            &[
                ("XDG_CURRENT_DESKTOP", "GNOME"),
                ("DCONF_PROFILE", "/p/profile"),
            ],
            "/p/profile",
            many("file-db:/none\n", 400_000),
            true,
        ),
    ] {
        let mut all = vec![("HOME", "/home/me")];
        all.extend(variables);
        let case = Case {
            exe,
            arguments,
            ..NOTHING
        };
        let dir = case.root();
        case.write(dir.path(), path, &bytes);
        for number in 0..500 {
            case.write(dir.path(), &format!("/many/{number}"), b"");
        }
        Damage::Sparse.put(&dir.path().join("big"));
        fs::File::options()
            .write(true)
            .open(dir.path().join("big"))
            .unwrap()
            .set_len(1024 * 1024)
            .unwrap();
        let view = View::of_disk(dir.path(), Some(UID)).with(&all, &[]);
        let posture = case.posture(&view);
        assert_eq!(
            posture.resolves() == Resolves::Unknown,
            is_open,
            "{exe} with {path}: {posture:?}"
        );
    }
}

/// Policies of a folder that are more, or larger, than any that an administrator writes.
#[test]
fn too_many_policies() {
    let case = Case {
        exe: "/usr/lib/chromium/chromium",
        ..NOTHING
    };
    let dir = case.root();
    for number in 0..300 {
        let path = format!("/etc/chromium/policies/managed/{number:03}.json");
        case.write(dir.path(), &path, b"{\"A\": 1}");
    }
    let posture = case.posture(&case.view(dir.path()));
    assert_eq!(posture.resolves(), Resolves::Unknown);
    for number in 300..5000 {
        let path = format!("/etc/chromium/policies/managed/{number:03}.json");
        case.write(dir.path(), &path, b"");
    }
    let view = case.view(dir.path());
    assert!(view.list("/etc/chromium/policies/managed").is_err());
    assert_eq!(case.posture(&view).resolves(), Resolves::Unknown);
}
