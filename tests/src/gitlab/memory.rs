//! Answers from memory: what `git http-backend` has once said to a question it need not be asked again, as long as the
//! project is as it was. For loads of which the stand-in itself must not be the measure.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::body::Bytes;

use super::answer::Answer;
use super::lock;
use super::log::Request;
use super::pour::Source;

/// What was said, by what it was an answer to.
#[derive(Debug, Default)]
pub(super) struct Memory {
    is_on: AtomicBool,
    said: Mutex<HashMap<Question, Said>>,
    /// Which project stands for which, so that many are one on disk.
    stand_ins: Mutex<HashMap<String, String>>,
    /// When each project was last asked for its refs.
    asked: Mutex<HashMap<String, Instant>>,
    /// How long each answer takes, as one of a real host does.
    takes: Mutex<Duration>,
    /// Questions without an answer: how many there are, and the most that there were at once.
    open: Mutex<(usize, usize)>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    project: String,
    method: String,
    query: String,
    service: String,
    body: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Memory {
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// From now on one project is as another one is.
    pub(super) fn stand_in(&self, project: &str, for_it: &str) {
        self.is_on.store(true, Ordering::Relaxed);
        lock(&self.stand_ins).insert(project.into(), for_it.into());
    }

    pub(super) fn asked(&self, project: &str) -> Option<Instant> {
        lock(&self.asked).get(project).copied()
    }

    /// The project on disk that one stands for, and what is asked of it.
    pub(super) fn question(
        &self,
        project: &str,
        service: &str,
        request: &Request,
    ) -> (String, Question) {
        if request.body_text().contains("command=ls-refs") {
            lock(&self.asked).insert(project.to_owned(), Instant::now());
        }
        let real = lock(&self.stand_ins).get(project).cloned();
        let real = real.unwrap_or_else(|| project.to_owned());
        let question = Question {
            project: real.clone(),
            method: request.method.clone(),
            query: request.query.clone(),
            service: service.to_owned(),
            body: request.body.clone(),
        };
        (real, question)
    }

    pub(super) fn take(&self, time: Duration) {
        *lock(&self.takes) = time;
    }

    pub(super) fn most_at_once(&self) -> usize {
        lock(&self.open).1
    }

    /// Takes its time.
    pub(super) async fn think(&self) {
        let time = *lock(&self.takes);
        {
            let mut open = lock(&self.open);
            open.0 += 1;
            open.1 = open.1.max(open.0);
        }
        tokio::time::sleep(time).await;
        lock(&self.open).0 -= 1;
    }

    pub(super) fn answer(&self, question: &Question) -> Option<Answer> {
        let said = lock(&self.said).get(question).cloned()?;
        Some(Answer {
            status: said.status,
            headers: said.headers,
            source: Source::Ready(said.body),
        })
    }

    /// Keeps an answer, if it is all there.
    pub(super) fn keep(&self, question: Question, answer: &Answer) {
        if let Source::Ready(body) = &answer.source {
            let said = Said {
                status: answer.status,
                headers: answer.headers.clone(),
                body: body.clone(),
            };
            lock(&self.said).insert(question, said);
        }
    }
}
