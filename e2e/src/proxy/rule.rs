//! Which requests a proxy answers otherwise than the registry does, and how often.

use std::{collections::BTreeSet, fmt};

use super::{
    answer::Answer,
    seen::{Operation, Seen},
};

/// Which requests get what answer.
#[derive(Clone, Debug)]
pub struct Rule {
    which: Which,
    path: String,
    authorization: Option<String>,
    after: Option<Operation>,
    answer: Answer,
    /// How often it is followed yet.
    times: usize,
    /// It is followed for each so many requests.
    each: usize,
    matched: usize,
}

#[derive(Clone, Debug)]
enum Which {
    Operation(Operation),
    Method(String),
    All,
}

impl Rule {
    /// `answer` for every `operation`.
    #[must_use]
    pub fn of(operation: Operation, answer: Answer) -> Self {
        Self::new(Which::Operation(operation), answer)
    }

    /// `answer` for whatever is asked.
    #[must_use]
    pub fn of_all(answer: Answer) -> Self {
        Self::new(Which::All, answer)
    }

    /// `answer` for every request of `method`.
    pub(super) fn of_method(method: &str, answer: Answer) -> Self {
        Self::new(Which::Method(method.into()), answer)
    }

    fn new(which: Which, answer: Answer) -> Self {
        Self {
            which,
            path: String::new(),
            authorization: None,
            after: None,
            answer,
            times: usize::MAX,
            each: 1,
            matched: 0,
        }
    }

    /// Only where the path contains `part`.
    #[must_use]
    pub fn path(self, part: &str) -> Self {
        Self { path: part.into(), ..self }
    }

    /// Only where this is the Authorization header.
    #[must_use]
    pub fn identity(self, authorization: &str) -> Self {
        Self { authorization: Some(authorization.into()), ..self }
    }

    /// Only once `operation` has succeeded.
    #[must_use]
    pub fn after(self, operation: Operation) -> Self {
        Self { after: Some(operation), ..self }
    }

    /// No more than so many times.
    #[must_use]
    pub fn first(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Each so many requests: with 2 the second, the fourth and so on.
    #[must_use]
    pub fn each(self, each: usize) -> Self {
        Self { each, ..self }
    }

    /// Whether it loses the answer to an upload's begin, so that nobody ever knows which one that is.
    #[must_use]
    pub fn loses_uploads(&self) -> bool {
        let begins = matches!(self.which, Which::Operation(Operation::PostUpload));
        begins && matches!(self.answer, Answer::Lost)
    }

    /// Whether what is being uploaded may break off.
    #[must_use]
    pub fn breaks_uploads(&self) -> bool {
        matches!(self.which, Which::Operation(Operation::GetBlob | Operation::PutBlob))
    }

    /// What it is for.
    #[must_use]
    pub fn asked(&self) -> String {
        let what = match &self.which {
            Which::Operation(operation) => operation.to_string(),
            Which::Method(method) => method.clone(),
            Which::All => "anything".into(),
        };
        let path = self.path.rsplit('/').next().unwrap_or_default();
        let path = if path.is_empty() { String::new() } else { format!(" {path}") };
        let after = self.after.map_or_else(String::new, |after| format!(" after {after}"));
        format!("{what}{path}{after}")
    }

    /// Its answer, where it is for `seen`. `done` are the operations that have succeeded.
    pub(super) fn answer(&mut self, seen: &Seen, done: &BTreeSet<Operation>) -> Option<Answer> {
        let is_it = match &self.which {
            Which::Operation(operation) => *operation == seen.operation,
            Which::Method(method) => *method == seen.method,
            Which::All => true,
        };
        let theirs =
            self.authorization.as_ref().is_none_or(|it| seen.authorization.as_ref() == Some(it));
        let now = self.after.is_none_or(|operation| done.contains(&operation));
        if self.times == 0 || !is_it || !theirs || !now || !seen.path.contains(&self.path) {
            return None;
        }
        self.matched += 1;
        if !self.matched.is_multiple_of(self.each) {
            return None;
        }
        self.times = self.times.saturating_sub(1);
        Some(self.answer.clone())
    }
}

impl fmt::Display for Rule {
    /// What is answered, and how often.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.answer.fmt(f)?;
        match (self.times, self.each) {
            (usize::MAX, 1) => f.write_str(", always"),
            (usize::MAX, each) => write!(f, ", each {each}."),
            (times, 1) => write!(f, ", the first {times}"),
            (times, each) => write!(f, ", each {each}., {times} times"),
        }
    }
}
