//! Answers from memory: what `git http-backend` has once said to a question it need not be asked again, as long as the
//! project is as it was. For loads of which the stand-in itself must not be the measure.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use hyper::{HeaderMap, StatusCode, body::Bytes};
use parking_lot::Mutex;

use super::{answer::Answer, log::Request, pour::Source};

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
        self.stand_ins.lock().insert(project.into(), for_it.into());
    }

    pub(super) fn asked(&self, project: &str) -> Option<Instant> {
        self.asked.lock().get(project).copied()
    }

    /// The project on disk that one stands for, and what is asked of it.
    pub(super) fn question(
        &self,
        project: &str,
        service: &str,
        request: &Request,
    ) -> (String, Question) {
        if request.body_text().contains("command=ls-refs") {
            self.asked.lock().insert(project.to_owned(), Instant::now());
        }
        let real = self.stand_ins.lock().get(project).cloned();
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
        *self.takes.lock() = time;
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.open.lock().1
    }

    /// Takes its time.
    pub(super) async fn think(&self) {
        let time = *self.takes.lock();
        {
            let mut open = self.open.lock();
            open.0 += 1;
            open.1 = open.1.max(open.0);
        }
        tokio::time::sleep(time).await;
        self.open.lock().0 -= 1;
    }

    pub(super) fn answer(&self, question: &Question) -> Option<Answer> {
        let said = self.said.lock().get(question).cloned()?;
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
            self.said.lock().insert(question, said);
        }
    }
}
