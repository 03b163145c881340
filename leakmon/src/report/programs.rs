//! Programs and the ways that their questions take, as many as there is room for.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Change, Flow, Listed, MAX_ROWS, Posture, Program, Verdicts, Way};

/// Programs, and ways, that are counted one by one; what comes after them is counted together.
const MAX_COUNTED: usize = 2000;
/// Pieces of advice that are kept of one program.
const MAX_CHANGES: usize = 8;
/// Stands for what is counted together.
const OTHERS: &str = "(others)";

/// What is known of one program.
#[derive(Debug, Default)]
pub struct Tally {
    /// Its queries.
    pub verdicts: Verdicts,
    /// Findings about it.
    pub findings: u64,
    /// Those that say that something leaked.
    pub leaks: u64,
    changes: Vec<Change>,
    more_changes: u64,
}

impl Tally {
    /// Something to change, by a finding.
    pub fn change(&mut self, advice: &str) {
        match self.changes.iter_mut().find(|known| known.advice == advice) {
            Some(known) => known.findings += 1,
            None => self.add(Change {
                advice: advice.to_owned(),
                findings: 1,
                leak: None,
                certain: true,
            }),
        }
    }

    fn add(&mut self, change: Change) {
        if self.changes.len() < MAX_CHANGES {
            self.changes.push(change);
        } else {
            self.more_changes += 1;
        }
    }

    /// Something to change, by what the program was told.
    fn change_settings(&mut self, posture: &Posture) {
        for leak in &posture.leaks {
            match self
                .changes
                .iter_mut()
                .find(|known| known.advice == leak.stop)
            {
                Some(known) => {
                    known.leak.get_or_insert_with(|| leak.what.clone());
                }
                None => self.add(Change {
                    advice: leak.stop.clone(),
                    findings: 0,
                    leak: Some(leak.what.clone()),
                    certain: leak.certain,
                }),
            }
        }
    }
}

/// All programs.
#[derive(Debug, Default)]
pub struct Programs(BTreeMap<Option<String>, Tally>);

impl Programs {
    /// The program of that name.
    pub fn of(&mut self, name: Option<&str>) -> &mut Tally {
        let mut name = name.map(str::to_owned);
        if self.0.len() >= MAX_COUNTED && !self.0.contains_key(&name) {
            name = Some(OTHERS.to_owned());
        }
        self.0.entry(name).or_default()
    }

    /// How many have a name, and how many of all leak.
    pub fn counts(&self) -> (u64, u64) {
        let named = self.0.keys().filter(|name| name.is_some()).count();
        let leaking = |tally: &&Tally| tally.leaks > 0 || tally.verdicts.leak > 0;
        let leaking = self.0.values().filter(leaking).count();
        (named as u64, leaking as u64)
    }

    /// All of them with what they were told, those that leak first.
    pub fn listed(mut self, mut told: BTreeMap<String, Listed<Posture>>) -> Listed<Program> {
        for (name, postures) in &told {
            let tally = self.of(Some(name));
            for posture in &postures.listed {
                tally.change_settings(posture);
            }
        }
        let mut all: Vec<Program> = self
            .0
            .into_iter()
            .map(|(name, tally)| {
                let mut changes = tally.changes;
                // Stable: equal ones stay in the order in which they came.
                changes.sort_by_key(|change| (!change.certain, Reverse(change.findings)));
                let postures = name.as_ref().and_then(|name| told.remove(name));
                Program {
                    verdicts: tally.verdicts,
                    findings: tally.findings,
                    leaks: tally.leaks,
                    changes: Listed {
                        listed: changes,
                        left_out: tally.more_changes,
                    },
                    postures: postures.unwrap_or_default(),
                    name,
                }
            })
            .collect();
        all.sort_by_key(|program| {
            let Verdicts { leak, .. } = program.verdicts;
            Reverse((program.leaks, leak, program.verdicts.sum()))
        });
        Listed::of(all, MAX_ROWS)
    }
}

/// All ways that programs' questions took.
#[derive(Debug, Default)]
pub struct Flows {
    known: BTreeMap<(Option<String>, Way), usize>,
    all: Vec<Flow>,
}

impl Flows {
    /// The number of a way.
    pub fn index(&mut self, program: Option<&str>, way: Way) -> usize {
        let mut key = (program.map(str::to_owned), way);
        if self.all.len() >= MAX_COUNTED && !self.known.contains_key(&key) {
            let others = Way {
                resolver: OTHERS.to_owned(),
                interface: None,
                via: None,
            };
            key = (Some(OTHERS.to_owned()), others);
        }
        if let Some(&index) = self.known.get(&key) {
            return index;
        }
        let index = self.all.len();
        self.all.push(Flow {
            program: key.0.clone(),
            way: key.1.clone(),
            verdicts: Verdicts::default(),
            escaped: 0,
            findings: 0,
        });
        self.known.insert(key, index);
        index
    }

    /// The way of that number.
    pub fn get(&mut self, index: usize) -> &mut Flow {
        &mut self.all[index]
    }

    /// All of them, those with the most leaks first.
    pub fn listed(self) -> Listed<Flow> {
        let mut all = self.all;
        all.sort_by(|one, other| {
            let key = |flow: &Flow| Reverse((flow.verdicts.leak, flow.verdicts.sum()));
            key(one)
                .cmp(&key(other))
                .then_with(|| (&one.program, &one.way).cmp(&(&other.program, &other.way)))
        });
        Listed::of(all, MAX_ROWS)
    }
}
