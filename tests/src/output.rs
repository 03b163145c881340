//! The JSON lines of leakmon, and what they say in the end: a later line about the same thing replaces the earlier one.

use serde_json::Value;

/// The final state of a run: its lines in order, each update in the place of what it replaces.
#[derive(Clone, Debug, Default)]
pub struct State {
    lines: Vec<Value>,
}

impl State {
    /// Applies the updates among `lines`.
    #[must_use]
    pub fn of(lines: &[Value]) -> Self {
        let mut state = Self::default();
        for line in lines {
            let replaced = (line["update"] == true)
                .then(|| {
                    state
                        .lines
                        .iter_mut()
                        .rev()
                        .find(|old| old["type"] == line["type"] && old["id"] == line["id"])
                })
                .flatten();
            match replaced {
                Some(old) => *old = line.clone(),
                None => state.lines.push(line.clone()),
            }
        }
        state
    }

    /// All of it.
    #[must_use]
    pub fn lines(&self) -> &[Value] {
        &self.lines
    }

    fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["type"] == kind)
    }

    /// The queries.
    pub fn queries(&self) -> impl Iterator<Item = &Value> {
        self.of_type("query")
    }

    /// The queries of the app of that name.
    pub fn queries_of<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a Value> {
        self.queries()
            .filter(move |query| query["app"]["name"] == app)
    }

    /// The queries for a name.
    pub fn queries_for<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.queries().filter(move |query| query["name"] == name)
    }

    /// The answers to a query.
    pub fn answers_to<'a>(&'a self, query: &'a Value) -> impl Iterator<Item = &'a Value> {
        self.of_type("answer")
            .filter(move |answer| answer["query"] == query["id"])
    }

    /// The findings.
    pub fn findings(&self) -> impl Iterator<Item = &Value> {
        self.of_type("finding")
    }

    /// The findings about a name.
    pub fn findings_for<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.findings()
            .filter(move |finding| finding["name"] == name)
    }

    /// The proven self-resolution of a name, if it was found.
    #[must_use]
    pub fn proof_for<'a>(&'a self, name: &'a str) -> Option<&'a Value> {
        self.findings_for(name).find(|finding| {
            finding["kind"] == "self-resolution" && finding["confidence"] == "proven"
        })
    }

    /// The requests to a proxy.
    pub fn proxies(&self) -> impl Iterator<Item = &Value> {
        self.of_type("proxy")
    }
}

/// The text of all evidence of a finding, for looking up what it names.
#[must_use]
pub fn evidence_text(finding: &Value) -> String {
    let details = finding["evidence"].as_array().into_iter().flatten();
    details
        .filter_map(|evidence| evidence["detail"].as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_later_line_about_the_same_thing_wins() {
        let state = State::of(&[
            json!({"type": "query", "id": 1, "verdict": "unknown"}),
            json!({"type": "query", "id": 2, "verdict": "no-proxy"}),
            json!({"type": "finding", "id": 1, "confidence": "observed"}),
            json!({"type": "query", "id": 1, "verdict": "leak", "update": true}),
        ]);
        let verdicts: Vec<_> = state
            .queries()
            .map(|query| query["verdict"].clone())
            .collect();
        assert_eq!(verdicts, ["leak", "no-proxy"]);
        assert_eq!(state.findings().count(), 1);
    }
}
