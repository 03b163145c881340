//! The event stream of a live run in a file, to be replayed.
//!
//! A recording is a header (eight bytes of magic, then the format's version as a little-endian u32) and blocks. A block
//! is the length of its content and the CRC-32 of it, both little-endian u32, and the content: a sequence of events in
//! postcard's encoding. The types in recording/format.rs are the format: a change of theirs is a new version.

mod format;

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use format::Recorded;

use super::{Event, machine};

const MAGIC: &[u8; 8] = b"leakmon\n";
/// The format that is written. Older ones are read too: format 1 has no postures, format 2 no listeners, connections and
/// requests of services.
const VERSION: u32 = 3;
/// Longest content of a block. Writing keeps to a fraction of it; a longer one is damage, not data.
const MAX_BLOCK: u32 = 16 * 1024 * 1024;
/// A block is closed when it has this many bytes.
const FULL_BLOCK: usize = 64 * 1024;

/// Why a recording could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file could not be opened.
    #[error("cannot {action} {}: {reason}", .path.display())]
    Open {
        /// `write` or `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is something else.
    #[error("{} is no recording of leakmon's", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was made by another leakmon.
    #[error("{} has format {found}, and this leakmon reads up to {VERSION}: use the leakmon that recorded it", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It ends in the middle.
    #[error("{} was cut off after {events} events: all that is before is shown", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Events read until there.
        events: u64,
    },
    /// Its content was changed.
    #[error("{} is damaged after {events} events: all that is before is shown", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Events read until there.
        events: u64,
    },
    /// Reading or writing failed.
    #[error("{}: {reason}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Writes a recording.
pub struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    block: Vec<u8>,
}

impl Writer {
    /// Makes a new file that its owner alone can read: names are private. An existing file is left alone.
    ///
    /// # Errors
    /// When the file exists or cannot be made.
    pub fn create(path: &Path) -> Result<Self, RecordingError> {
        let open = |error: io::Error| RecordingError::Open {
            action: "write",
            path: path.to_owned(),
            reason: if error.kind() == io::ErrorKind::AlreadyExists {
                "it exists already; remove it or choose another name".to_owned()
            } else {
                machine::plain(&error)
            },
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(open)?;
        let mut writer = Self {
            path: path.to_owned(),
            out: BufWriter::new(file),
            block: Vec::new(),
        };
        writer.put(&[MAGIC, &VERSION.to_le_bytes()[..]].concat())?;
        Ok(writer)
    }

    /// Gives the file to a user and a group.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn give(&self, uid: u32, gid: u32) -> Result<(), RecordingError> {
        fchown(self.out.get_ref(), Some(uid), Some(gid)).map_err(|error| RecordingError::Io {
            path: self.path.clone(),
            reason: machine::plain(&error),
        })
    }

    /// Adds an event.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, event: &Event) -> Result<(), RecordingError> {
        let encoded =
            postcard::to_stdvec(&Recorded::from(event)).map_err(|error| RecordingError::Io {
                path: self.path.clone(),
                reason: error.to_string(),
            })?;
        self.block.extend_from_slice(&encoded);
        if self.block.len() >= FULL_BLOCK {
            self.close_block()?;
        }
        Ok(())
    }

    /// Hands everything on to the system, so that a run that is killed later loses nothing of it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.close_block()?;
        self.out.flush().map_err(|error| self.fault(&error))
    }

    fn close_block(&mut self) -> Result<(), RecordingError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let content = std::mem::take(&mut self.block);
        // A block is closed once it is full, and no event is longer than a packet with a process's command line.
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        self.put(&len.to_le_bytes())?;
        self.put(&crc32fast::hash(&content).to_le_bytes())?;
        self.put(&content)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        self.out
            .write_all(bytes)
            .map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &io::Error) -> RecordingError {
        RecordingError::Io {
            path: self.path.clone(),
            reason: machine::plain(error),
        }
    }
}

/// Reads a recording, event by event.
pub struct Reader<R> {
    path: PathBuf,
    input: R,
    block: Vec<u8>,
    /// Bytes of the block that were read.
    taken: usize,
    events: u64,
}

impl Reader<BufReader<File>> {
    /// Opens a recording.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let file = File::open(path).map_err(|error| RecordingError::Open {
            action: "read",
            path: path.to_owned(),
            reason: machine::plain(&error),
        })?;
        Self::new(path, BufReader::new(file))
    }
}

impl<R: Read> Reader<R> {
    /// A recording from any input; the path is for messages only.
    ///
    /// # Errors
    /// When it is no recording, or none that this version reads.
    pub fn new(path: &Path, input: R) -> Result<Self, RecordingError> {
        let mut reader = Self {
            path: path.to_owned(),
            input,
            block: Vec::new(),
            taken: 0,
            events: 0,
        };
        let mut magic = [0; 8];
        let mut version = [0; 4];
        if !reader.fill(&mut magic)? || magic != *MAGIC || !reader.fill(&mut version)? {
            return Err(RecordingError::Foreign { path: reader.path });
        }
        match u32::from_le_bytes(version) {
            1..=VERSION => Ok(reader),
            found => Err(RecordingError::Version {
                path: reader.path,
                found,
            }),
        }
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// When the recording is cut off or damaged. Nothing after that can be read.
    pub fn next_event(&mut self) -> Result<Option<Event>, RecordingError> {
        while self.taken == self.block.len() {
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let rest = &self.block[self.taken..];
        let (recorded, left) =
            postcard::take_from_bytes::<Recorded>(rest).map_err(|_| self.damaged())?;
        self.taken = self.block.len() - left.len();
        self.events += 1;
        Ok(Some(recorded.into()))
    }

    /// Reads the next block; false at the end.
    fn next_block(&mut self) -> Result<bool, RecordingError> {
        let mut len = [0; 4];
        if !self.fill(&mut len)? {
            return Ok(false);
        }
        let mut sum = [0; 4];
        if !self.fill(&mut sum)? {
            return Err(self.truncated());
        }
        let len = u32::from_le_bytes(len);
        if len > MAX_BLOCK {
            return Err(self.damaged());
        }
        self.block.clear();
        self.taken = 0;
        (&mut self.input)
            .take(len.into())
            .read_to_end(&mut self.block)
            .map_err(|error| self.fault(&error))?;
        if self.block.len() < len as usize {
            return Err(self.truncated());
        }
        if crc32fast::hash(&self.block) != u32::from_le_bytes(sum) {
            return Err(self.damaged());
        }
        Ok(true)
    }

    /// Fills the buffer; false when the input is at its end. An end in between is a cut.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, RecordingError> {
        let mut got = 0;
        while got < buffer.len() {
            match self.input.read(&mut buffer[got..]) {
                Ok(0) if got == 0 => return Ok(false),
                Ok(0) => return Err(self.truncated()),
                Ok(n) => got += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(&error)),
            }
        }
        Ok(true)
    }

    fn truncated(&self) -> RecordingError {
        RecordingError::Truncated {
            path: self.path.clone(),
            events: self.events,
        }
    }

    fn damaged(&self) -> RecordingError {
        RecordingError::Damaged {
            path: self.path.clone(),
            events: self.events,
        }
    }

    fn fault(&self, error: &io::Error) -> RecordingError {
        RecordingError::Io {
            path: self.path.clone(),
            reason: machine::plain(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use leakmon_common::Owner;

    use super::{
        super::{Connect, Direction, Packet, Reason, Request},
        *,
    };
    use crate::{
        model::{Place, Process, ProcessId, Service, Transport},
        posture::Posture,
        time::Timestamp,
    };

    fn events() -> Vec<Event> {
        let owner = Owner {
            seen_ns: 9,
            tgid: 7,
            tid: 8,
            uid: 1000,
            gid: 100,
            comm: *b"dig\0\0\0\0\0\0\0\0\0\0\0\0\0",
        };
        vec![
            Event::Process(Arc::new(Process {
                exe: Some("/usr/bin/dig".into()),
                cmdline: Some(vec!["dig".into(), "\u{1b}".into()]),
                started_ns: Some(5),
                environment: Some(vec![("all_proxy".into(), "h".into())]),
                start_time: Some(Timestamp(6)),
                ..Process::unread(7, Some(1000))
            })),
            Event::Packet(Packet {
                at: Timestamp(10),
                cookie: 3,
                owner: Some(owner),
                direction: Direction::Egress,
                reason: Reason::Dns,
                transport: Transport::Udp,
                source: "[::1]:4242".parse().unwrap(),
                destination: "10.0.0.1:53".parse().unwrap(),
                ifindex: 2,
                interface: Some("eth0".into()),
                sequence: 0,
                datagram_len: 0,
                wire_len: 3,
                payload: b"abc".to_vec(),
            }),
            Event::Loss {
                at: Timestamp(20),
                events: 2,
                queries: 1,
                since: Timestamp(10),
            },
            Event::Tick(Timestamp(30)),
            Event::Posture {
                at: Timestamp(35),
                first: ProcessId {
                    pid: 7,
                    started_ns: Some(1),
                },
                posture: Arc::new(Posture {
                    role: Some("tor, a SOCKS proxy".into()),
                    ..Posture::default()
                }),
            },
            Event::Listener {
                at: Timestamp(36),
                netns: 4_026_531_840,
                place: Place::Service(Service::Nscd),
                first: Some(ProcessId {
                    pid: 7,
                    started_ns: Some(1),
                }),
                watched: true,
            },
            Event::Connect(Connect {
                at: Timestamp(37),
                cookie: 4,
                owner,
                destination: "[2001:db8::1]:443".parse().unwrap(),
            }),
            Event::Request(Request {
                at: Timestamp(38),
                owner,
                service: Service::Resolved,
                sent_len: 9,
                payload: b"{}\0".to_vec(),
            }),
            Event::End(Timestamp(40)),
        ]
    }

    /// A recording of two blocks, as bytes.
    fn recorded() -> Vec<u8> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leakmon-recording-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let mut writer = Writer::create(&path).unwrap();
        for event in &events()[..2] {
            writer.add(event).unwrap();
        }
        writer.flush().unwrap();
        for event in &events()[2..] {
            writer.add(event).unwrap();
        }
        writer.flush().unwrap();
        assert!(matches!(
            Writer::create(&path),
            Err(RecordingError::Open { .. })
        ));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        bytes
    }

    /// The events that can be read, and the error that ends them.
    fn read(bytes: &[u8]) -> (Vec<Event>, Option<RecordingError>) {
        let mut reader = match Reader::new(Path::new("file"), bytes) {
            Ok(reader) => reader,
            Err(error) => return (Vec::new(), Some(error)),
        };
        let mut events = Vec::new();
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (read, error) = read(&recorded());
        assert_eq!(read, events());
        assert!(error.is_none());
    }

    #[test]
    fn a_cut_is_told_after_what_is_before_it() {
        let bytes = recorded();
        let mut blocks_seen = Vec::new();
        for len in 0..bytes.len() {
            let (read, error) = read(&bytes[..len]);
            assert!(events().starts_with(&read));
            blocks_seen.push(read.len());
            let at_a_boundary = read.len() == 2 && error.is_none() || len == 12;
            assert!(error.is_some() || at_a_boundary, "{len} bytes");
        }
        assert!(blocks_seen.contains(&2));
    }

    #[test]
    fn damage_anywhere_is_told_and_never_read_as_events() {
        let bytes = recorded();
        for index in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[index] ^= 0x41;
            let (read, error) = read(&bytes);
            assert!(error.is_some(), "byte {index}");
            assert!(events().starts_with(&read), "byte {index}");
        }
    }

    #[test]
    fn other_files_and_formats_are_named() {
        let (_, error) = read(b"PNG....");
        assert!(matches!(
            error,
            Some(RecordingError::Foreign { .. } | RecordingError::Truncated { .. })
        ));
        let mut newer = recorded();
        newer[8] = 4;
        let (_, error) = read(&newer);
        assert_eq!(
            error.unwrap().to_string(),
            "file has format 4, and this leakmon reads up to 3: use the leakmon that recorded it"
        );
    }
}
