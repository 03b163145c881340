//! Comparing what leakmon saw with what the name server was asked.

use crate::dnsmasq::Asked;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How often each name was asked for, by name and type.
pub type Counts = BTreeMap<(String, String), usize>;

/// Counts `query` lines of leakmon.
pub fn seen<'a>(queries: impl Iterator<Item = &'a Value>) -> Counts {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut counts = Counts::new();
    for query in queries {
        *counts
            .entry((text(&query["name"]), text(&query["qtype"])))
            .or_default() += 1;
    }
    counts
}

/// Counts every query that reached the name server.
#[must_use]
pub fn asked(log: &[Asked]) -> Counts {
    let mut counts = Counts::new();
    for asked in log {
        *counts
            .entry((asked.name.clone(), asked.qtype.clone()))
            .or_default() += 1;
    }
    counts
}

/// Counts the queries without repetitions: the same question from the same port.
#[must_use]
pub fn asked_once(log: &[Asked]) -> Counts {
    let once: BTreeSet<_> = log
        .iter()
        .map(|asked| (asked.client, asked.port, &asked.name, &asked.qtype))
        .collect();
    let mut counts = Counts::new();
    for (_, _, name, qtype) in once {
        *counts.entry((name.clone(), qtype.clone())).or_default() += 1;
    }
    counts
}

/// leakmon saw exactly what was asked: nothing is missing, nothing is invented. A repetition may count or not.
#[must_use]
pub fn same(seen: &Counts, log: &[Asked]) -> bool {
    let (most, least) = (asked(log), asked_once(log));
    seen.len() == most.len()
        && seen.iter().all(|(what, count)| {
            most.get(what).is_some_and(|most| count <= most)
                && least.get(what).is_some_and(|least| count >= least)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn log(ports: &[u16]) -> Vec<Asked> {
        let client = "10.77.0.2".parse().expect("an address");
        let ask = |&port: &u16| Asked {
            client,
            port,
            qtype: "A".to_owned(),
            name: "page.example".to_owned(),
        };
        ports.iter().map(ask).collect()
    }

    fn lines(count: usize) -> Counts {
        let query = json!({"name": "page.example", "qtype": "A"});
        seen(std::iter::repeat_n(&query, count))
    }

    #[test]
    fn one_too_few_or_too_many_is_not_the_same() {
        assert!(same(&lines(2), &log(&[1, 2])));
        assert!(!same(&lines(1), &log(&[1, 2])));
        assert!(!same(&lines(3), &log(&[1, 2])));
        assert!(!same(&lines(0), &log(&[1])));
        assert!(!same(&lines(1), &log(&[])));
        assert!(same(&lines(0), &log(&[])));
    }

    #[test]
    fn a_repetition_may_count_or_not() {
        assert!(same(&lines(1), &log(&[1, 1])));
        assert!(same(&lines(2), &log(&[1, 1])));
        assert!(!same(&lines(3), &log(&[1, 1])));
    }
}
