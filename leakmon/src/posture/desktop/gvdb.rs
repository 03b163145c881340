//! GVDB, the format of dconf's databases and of GLib's compiled schemas: a reader of single keys.
//!
//! A user's database is hostile input to a program of root's. The crate `gvdb` (0.10.1) follows an entry that is its own
//! parent until the stack is full, which ends the process; here each step towards the root takes a part of the name.
//! The layout is that of gvdb's gvdb-format.h, the way to a key that of gvdb-reader.c.

/// Length of the header: signature, version, options, pointer to the root table.
const HEADER: usize = 24;
/// Length of an entry of a table.
const ENTRY: usize = 24;
/// The parent of an entry that has none.
const NO_PARENT: u32 = u32::MAX;
/// Entries with the hash of a key and another name: more than chance gives are there to keep a reader busy.
const MAX_NAMESAKES: u32 = 64;

/// Something points out of the file, or is no such file at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database is damaged")]
pub struct Damaged;

/// A value of one of the types that settings about proxies have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `s`
    Text(String),
    /// `i`
    Number(i32),
    /// `b`
    Flag(bool),
    /// `as`
    Texts(Vec<String>),
    /// Of another type.
    Other,
}

/// A table of keys, the file's own or one within it.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    file: &'a [u8],
    /// The values are of a machine with the other byte order; all else is little-endian everywhere.
    is_big_endian: bool,
    buckets: &'a [u8],
    entries: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table of a whole file.
    pub fn of_file(file: &'a [u8]) -> Result<Self, Damaged> {
        let is_big_endian = match file.get(..8) {
            Some(b"GVariant") => false,
            Some(b"raVGtnai") => true,
            _ => return Err(Damaged),
        };
        if number(file, 8)? != 0 || file.len() < HEADER {
            return Err(Damaged);
        }
        Self::at(file, is_big_endian, number(file, 16)?, number(file, 20)?)
    }

    fn at(file: &'a [u8], is_big_endian: bool, start: u32, end: u32) -> Result<Self, Damaged> {
        let table = between(file, start, end)?;
        // The five upper bits belong to the filter in front of the buckets, which only saves time.
        let filter = number(table, 0)? & 0x07ff_ffff;
        let buckets = words(number(table, 4)?)?;
        let first_bucket = words(filter)?.checked_add(8).ok_or(Damaged)?;
        let first_entry = first_bucket.checked_add(buckets).ok_or(Damaged)?;
        let entries = table.get(first_entry..).ok_or(Damaged)?;
        if entries.len() % ENTRY != 0 {
            return Err(Damaged);
        }
        Ok(Self {
            file,
            is_big_endian,
            buckets: table.get(first_bucket..first_entry).ok_or(Damaged)?,
            entries,
        })
    }

    /// Whether it has a key.
    pub fn has(&self, key: &str) -> Result<bool, Damaged> {
        Ok(self.find(key, b'v')?.is_some())
    }

    /// The value of a key; `None` when there is none.
    pub fn value(&self, key: &str) -> Result<Option<Value>, Damaged> {
        let Some(entry) = self.find(key, b'v')? else {
            return Ok(None);
        };
        let (start, end) = (number(entry, 16)?, number(entry, 20)?);
        variant(between(self.file, start, end)?, self.is_big_endian).map(Some)
    }

    /// The table of a key; `None` when there is none.
    pub fn table(&self, key: &str) -> Result<Option<Self>, Damaged> {
        let Some(entry) = self.find(key, b'H')? else {
            return Ok(None);
        };
        let (start, end) = (number(entry, 16)?, number(entry, 20)?);
        Self::at(self.file, self.is_big_endian, start, end).map(Some)
    }

    /// The entry of a key with a content of this kind.
    fn find(&self, key: &str, kind: u8) -> Result<Option<&'a [u8]>, Damaged> {
        let buckets = u32::try_from(self.buckets.len() / 4).map_err(|_| Damaged)?;
        let count = u32::try_from(self.entries.len() / ENTRY).map_err(|_| Damaged)?;
        let hash = hash(key);
        let Some(bucket) = hash.checked_rem(buckets) else {
            return Ok(None);
        };
        let first = number(self.buckets, words(bucket)?)?;
        let last = match bucket.checked_add(1) {
            Some(next) if next < buckets => number(self.buckets, words(next)?)?.min(count),
            _ => count,
        };
        let mut namesakes = 0;
        for index in first..last {
            let entry = self.entry(index)?;
            if number(entry, 0)? != hash {
                continue;
            }
            if entry.get(14) == Some(&kind) && self.is(entry, key)? {
                return Ok(Some(entry));
            }
            namesakes += 1;
            if namesakes > MAX_NAMESAKES {
                return Err(Damaged);
            }
        }
        Ok(None)
    }

    fn entry(&self, index: u32) -> Result<&'a [u8], Damaged> {
        let start = usize::try_from(index)
            .ok()
            .and_then(|index| index.checked_mul(ENTRY))
            .ok_or(Damaged)?;
        self.entries
            .get(start..)
            .and_then(|rest| rest.get(..ENTRY))
            .ok_or(Damaged)
    }

    /// Whether an entry's name, with those of its parents in front, is `key`.
    fn is(&self, mut entry: &'a [u8], key: &str) -> Result<bool, Damaged> {
        let mut rest = key.as_bytes();
        loop {
            let start = number(entry, 8)?;
            let length = u32::from(u16::from_le_bytes(bytes(entry, 12)?));
            let end = start.checked_add(length).ok_or(Damaged)?;
            let Some(before) = rest.strip_suffix(between(self.file, start, end)?) else {
                return Ok(false);
            };
            let parent = number(entry, 4)?;
            if parent == NO_PARENT {
                return Ok(before.is_empty());
            }
            // A name of no length would lead around in a circle.
            if before.len() == rest.len() {
                return Ok(false);
            }
            (rest, entry) = (before, self.entry(parent)?);
        }
    }
}

/// djb's hash, with `char` as signed as on the machine that wrote it; the keys asked for here are ASCII.
fn hash(key: &str) -> u32 {
    key.bytes().fold(5381_u32, |hash, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(byte))
    })
}

fn words(count: u32) -> Result<usize, Damaged> {
    usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(4))
        .ok_or(Damaged)
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Result<[u8; N], Damaged> {
    from.get(at..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .ok_or(Damaged)
}

fn number(from: &[u8], at: usize) -> Result<u32, Damaged> {
    bytes(from, at).map(u32::from_le_bytes)
}

fn between(file: &[u8], start: u32, end: u32) -> Result<&[u8], Damaged> {
    let (start, end) = (usize::try_from(start), usize::try_from(end));
    match (start, end) {
        (Ok(start), Ok(end)) => file.get(start..end).ok_or(Damaged),
        _ => Err(Damaged),
    }
}

/// A value in GVariant's serialization: the content, a zero, the type ("GVariant Specification", 2.5).
fn variant(serialized: &[u8], is_big_endian: bool) -> Result<Value, Damaged> {
    let zero = serialized
        .iter()
        .rposition(|&byte| byte == 0)
        .ok_or(Damaged)?;
    let content = serialized.get(..zero).ok_or(Damaged)?;
    Ok(match serialized.get(zero.saturating_add(1)..) {
        Some(b"s") => Value::Text(text(content)?),
        Some(b"i") => {
            let content = content.try_into().map_err(|_| Damaged)?;
            Value::Number(if is_big_endian {
                i32::from_be_bytes(content)
            } else {
                i32::from_le_bytes(content)
            })
        }
        Some(b"b") => match content {
            [flag @ (0 | 1)] => Value::Flag(*flag == 1),
            _ => return Err(Damaged),
        },
        Some(b"as") => Value::Texts(texts(content)?),
        _ => Value::Other,
    })
}

fn text(content: &[u8]) -> Result<String, Damaged> {
    let content = content.strip_suffix(&[0]).ok_or(Damaged)?;
    Ok(String::from_utf8_lossy(content).into_owned())
}

/// An array of strings: the strings, then where each of them ends, in as few bytes as its own length needs.
fn texts(content: &[u8]) -> Result<Vec<String>, Damaged> {
    if content.is_empty() {
        return Ok(Vec::new());
    }
    let width = match content.len() {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    };
    let offset = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_usize, |sum, &byte| (sum << 8) | usize::from(byte))
    };
    let last = content.len().checked_sub(width).ok_or(Damaged)?;
    let table = offset(content.get(last..).ok_or(Damaged)?);
    let offsets = content.get(table..).ok_or(Damaged)?;
    let mut start = 0;
    offsets
        .chunks(width)
        .map(|end| {
            let end = offset(end);
            let item = text(content.get(start..end).ok_or(Damaged)?);
            start = end;
            item
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `dconf compile` from the key file beside it.
    const REAL: &[u8] = include_bytes!("testdata/socks.dconf");
    /// From the same, with locks.
    const LOCKED: &[u8] = include_bytes!("testdata/locked.dconf");

    /// Everything that can be asked of a file, whatever it answers.
    fn ask_all(file: &[u8]) {
        let Ok(table) = Table::of_file(file) else {
            return;
        };
        for key in [
            "mode",
            "ignore-hosts",
            "socks/host",
            "socks/port",
            "use-same-proxy",
        ] {
            let _ = table.value(&format!("/system/proxy/{key}"));
        }
        if let Ok(Some(locks)) = table.table(".locks") {
            let _ = locks.has("/system/proxy/mode");
        }
    }

    #[test]
    fn a_real_database() {
        let table = Table::of_file(REAL).unwrap();
        let value = |key| table.value(key).unwrap();
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        assert_eq!(value("/system/proxy/mode"), text("manual"));
        assert_eq!(value("/system/proxy/socks/host"), text("127.0.0.1"));
        assert_eq!(value("/system/proxy/socks/port"), Some(Value::Number(9050)));
        assert_eq!(
            value("/system/proxy/use-same-proxy"),
            Some(Value::Flag(false))
        );
        assert_eq!(
            value("/system/proxy/ignore-hosts"),
            Some(Value::Texts(
                ["localhost", "127.0.0.0/8", "*.lan"]
                    .map(str::to_owned)
                    .to_vec()
            ))
        );
        assert_eq!(
            value("/org/gnome/desktop/interface/text-scaling-factor"),
            Some(Value::Other)
        );
        for absent in ["/system/proxy/https/host", "/system/proxy/", "", "mode"] {
            assert_eq!(value(absent), None, "{absent}");
        }
        assert!(table.table(".locks").unwrap().is_none());
        let locks = Table::of_file(LOCKED)
            .unwrap()
            .table(".locks")
            .unwrap()
            .unwrap();
        assert!(locks.has("/system/proxy/mode").unwrap());
        assert!(!locks.has("/system/proxy/socks/host").unwrap());
    }

    #[test]
    fn a_database_cut_anywhere_is_read_or_refused() {
        for file in [REAL, LOCKED] {
            for length in 0..file.len() {
                ask_all(&file[..length]);
                // What says where the rest is comes first: nothing of it may be missing unnoticed.
                let short = Table::of_file(&file[..length]);
                if let Ok(short) = short {
                    let value = short.value("/system/proxy/mode");
                    assert!(value.is_err() || value.unwrap().is_some(), "{length}");
                }
            }
        }
    }

    #[test]
    fn no_byte_can_make_it_fail() {
        for file in [REAL, LOCKED] {
            for at in 0..file.len() {
                for byte in [0, 1, 0x7f, 0x80, 0xff, file[at] ^ 1, file[at] ^ 0x10] {
                    let mut file = file.to_vec();
                    file[at] = byte;
                    ask_all(&file);
                }
            }
        }
    }

    #[test]
    fn noise() {
        // A generator of Marsaglia's: the same noise each time.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let mut file = REAL.to_vec();
            for _ in 0..(random() % 8) {
                let at = usize::try_from(random() % file.len() as u64).unwrap();
                let bytes = random().to_le_bytes();
                let end = (at + 4).min(file.len());
                file[at..end].copy_from_slice(&bytes[..end - at]);
            }
            ask_all(&file);
            let mut noise = b"GVariant\0\0\0\0\0\0\0\0".to_vec();
            noise.extend((0..random() % 200).flat_map(|_| random().to_le_bytes()));
            ask_all(&noise);
        }
    }

    #[test]
    fn circles_end() {
        // Every entry has no name of its own, and itself for a parent.
        let mut file = REAL.to_vec();
        let first = 0x6c;
        for index in 0..19_usize {
            let entry = first + index * ENTRY;
            file[entry + 4..entry + 8]
                .copy_from_slice(&u32::try_from(index).unwrap().to_le_bytes());
            file[entry + 12..entry + 14].copy_from_slice(&0_u16.to_le_bytes());
        }
        let table = Table::of_file(&file).unwrap();
        assert_eq!(table.value("/system/proxy/mode"), Ok(None));
    }

    #[test]
    fn the_other_byte_order() {
        let mut file = REAL.to_vec();
        file[..8].copy_from_slice(b"raVGtnai");
        let swapped = Table::of_file(&file)
            .unwrap()
            .value("/system/proxy/socks/port");
        assert_eq!(swapped, Ok(Some(Value::Number(9050_i32.swap_bytes()))));
    }

    #[test]
    fn long_arrays() {
        let many = vec!["x".repeat(40); 20];
        let mut content: Vec<u8> = many
            .iter()
            .flat_map(|item| [item.as_bytes(), &[0]].concat())
            .collect();
        let ends: Vec<u8> = (1..=20_u16).flat_map(|n| (n * 41).to_le_bytes()).collect();
        content.extend(ends);
        assert_eq!(texts(&content), Ok(many));
        assert_eq!(texts(&[]), Ok(Vec::new()));
        assert_eq!(texts(&[0xff]), Err(Damaged));
        assert_eq!(texts(b"a\0\x02\x01"), Err(Damaged));
    }
}
