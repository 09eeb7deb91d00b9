//! Answers from memory: an answer of `git http-backend` is kept and sent again, as long as the project has not changed. For
//! load tests, which are not to measure git itself.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use hyper::{HeaderMap, StatusCode, body::Bytes};
use parking_lot::Mutex;

use super::{GitLab, answer::Answer, log::Request, pour::Source};

/// The stored answers, and what a load test measures of the requests.
#[derive(Debug, Default)]
pub(super) struct Memory {
    is_on: AtomicBool,
    answers: Mutex<HashMap<Question, StoredAnswer>>,
    /// The project on disk that is served under the name of each other project.
    stand_ins: Mutex<HashMap<String, String>>,
    /// When each project was last asked for its refs.
    last_asked: Mutex<HashMap<String, Instant>>,
    /// How long each answer takes.
    delay: Mutex<Duration>,
    open: Mutex<Open>,
}

/// The number of requests that are being answered.
#[derive(Debug, Default)]
struct Open {
    now: usize,
    max: usize,
}

/// The parts of a request on which its answer depends.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    project: String,
    method: String,
    query: String,
    service: String,
    body: Vec<u8>,
}

#[derive(Debug, Clone)]
struct StoredAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl GitLab {
    /// Serves one project under the name of another one, and answers from memory from now on. All projects are then
    /// public.
    pub fn stand_in(&self, project: &str, for_it: &str) {
        self.shared.memory.stand_in(project, for_it);
    }

    /// Makes each answer from memory take this long.
    pub fn takes(&self, time: Duration) {
        self.shared.memory.set_delay(time);
    }

    /// Returns the greatest number of requests that were being answered at once, while answers come from memory.
    pub fn most_at_once(&self) -> usize {
        self.shared.memory.max_open()
    }

    /// Returns when a project was last asked for its refs, while answers come from memory.
    pub fn last_asked(&self, project: &str) -> Option<Instant> {
        self.shared.memory.last_asked(project)
    }
}

impl Memory {
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Serves one project under the name of another one.
    pub(super) fn stand_in(&self, project: &str, for_it: &str) {
        self.is_on.store(true, Ordering::Relaxed);
        self.stand_ins.lock().insert(project.into(), for_it.into());
    }

    pub(super) fn last_asked(&self, project: &str) -> Option<Instant> {
        self.last_asked.lock().get(project).copied()
    }

    /// Returns the project on disk that is served, and the key under which the answer is stored.
    pub(super) fn question(
        &self,
        project: &str,
        service: &str,
        request: &Request,
    ) -> (String, Question) {
        if request.body_text().contains("command=ls-refs") {
            self.last_asked
                .lock()
                .insert(project.to_owned(), Instant::now());
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

    pub(super) fn set_delay(&self, time: Duration) {
        *self.delay.lock() = time;
    }

    pub(super) fn max_open(&self) -> usize {
        self.open.lock().max
    }

    /// Waits as long as an answer is to take.
    pub(super) async fn wait_delay(&self) {
        let time = *self.delay.lock();
        {
            let mut open = self.open.lock();
            open.now += 1;
            open.max = open.max.max(open.now);
        }
        tokio::time::sleep(time).await;
        self.open.lock().now -= 1;
    }

    pub(super) fn answer(&self, question: &Question) -> Option<Answer> {
        let answer = self.answers.lock().get(question).cloned()?;
        Some(Answer {
            status: answer.status,
            headers: answer.headers,
            source: Source::Ready(answer.body),
        })
    }

    /// Stores an answer, if it is complete.
    pub(super) fn keep(&self, question: Question, answer: &Answer) {
        if let Source::Ready(body) = &answer.source {
            let answer = StoredAnswer {
                status: answer.status,
                headers: answer.headers.clone(),
                body: body.clone(),
            };
            self.answers.lock().insert(question, answer);
        }
    }
}
