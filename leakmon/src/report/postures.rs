//! What programs were told, each once however many of their processes were told it.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    Listed, Piece, Posture, SettingLeak,
    words::{clip, in_a_line},
};
use crate::saved::{Evidence, Setup};

/// Processes and profiles of which is kept what they were told.
const MAX_KEPT: usize = 512;
/// Pieces that are kept of one posture.
const MAX_PIECES: usize = 32;
/// Different postures that are listed of one program.
const MAX_EACH: usize = 16;

/// Whose settings they are: file, run, name, pid, path of a profile.
type Whose = (usize, u64, String, Option<u32>, Option<String>);

/// What programs were told.
#[derive(Debug, Default)]
pub struct Postures {
    kept: BTreeMap<Whose, Posture>,
    left_out: BTreeMap<String, u64>,
}

impl Postures {
    /// What a program was told, or is told now.
    pub fn add(&mut self, source: usize, run: u64, setup: &Setup) {
        let (name, pid, path) = match (&setup.app, &setup.profile) {
            (Some(app), _) => (clip(&app.name), Some(app.pid), None),
            (None, Some(profile)) => (clip(&profile.program), None, Some(clip(&profile.path))),
            (None, None) => return,
        };
        let is_full = self.kept.len() >= MAX_KEPT;
        match self.kept.entry((source, run, name, pid, path)) {
            Entry::Occupied(mut known) => {
                known.insert(posture(setup));
            }
            Entry::Vacant(new) if !is_full => {
                new.insert(posture(setup));
            }
            Entry::Vacant(new) => {
                let name = new.into_key().2;
                if self.left_out.len() < MAX_KEPT || self.left_out.contains_key(&name) {
                    *self.left_out.entry(name).or_default() += 1;
                }
            }
        }
    }

    /// By the program's name.
    pub fn by_program(self) -> BTreeMap<String, Listed<Posture>> {
        let mut all: BTreeMap<String, Vec<Posture>> = BTreeMap::new();
        for ((_, _, name, _, _), posture) in self.kept {
            let known = all.entry(name).or_default();
            let same = |one: &&mut Posture| {
                Posture {
                    processes: posture.processes,
                    ..(**one).clone()
                } == posture
            };
            match known.iter_mut().find(same) {
                Some(one) => one.processes += posture.processes,
                None => known.push(posture),
            }
        }
        let mut listed: BTreeMap<String, Listed<Posture>> = all
            .into_iter()
            .map(|(name, postures)| (name, Listed::of(postures, MAX_EACH)))
            .collect();
        for (name, more) in self.left_out {
            listed.entry(name).or_default().left_out += more;
        }
        listed
    }
}

fn posture(setup: &Setup) -> Posture {
    let profile = match (&setup.app, &setup.profile) {
        (None, Some(profile)) => Some(clip(&profile.path)),
        _ => None,
    };
    Posture {
        processes: u64::from(profile.is_none()),
        profile,
        words: clip(&in_a_line(setup)),
        route: clip(&setup.route),
        resolves: clip(&setup.resolves),
        evidence: pieces(&setup.evidence),
        bypass: setup
            .bypass
            .iter()
            .take(MAX_PIECES)
            .map(|text| clip(text))
            .collect(),
        leaks: setup
            .leaks
            .iter()
            .take(MAX_PIECES)
            .map(|leak| SettingLeak {
                what: clip(&leak.what),
                certain: leak.certain,
                stop: clip(&leak.stop),
            })
            .collect(),
        overruled: pieces(&setup.overruled),
    }
}

/// Evidence as it is kept.
pub fn pieces(evidence: &[Evidence]) -> Vec<Piece> {
    evidence
        .iter()
        .take(MAX_PIECES)
        .map(|piece| Piece {
            ts: piece.ts,
            source: clip(&piece.source),
            detail: clip(&piece.detail),
        })
        .collect()
}
