//! Questions that a child of ours has for the person: ssh asks its askpass program, which is ours and asks this daemon,
//! which asks one of those who wait for the sync.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use common::protocol::{OneTimeId, Secret};
use tokio::sync::{mpsc, oneshot};

use crate::upstream::random_id;

/// What ssh calls the thing that it wants, when it wants a passphrase.
const PASSPHRASE: &str = "passphrase for";

/// A question for one client.
pub(crate) struct Question {
    /// As ssh would print it.
    pub prompt: String,
    /// Who waits for the answer; `None` is that there is none.
    pub answer: oneshot::Sender<Option<Secret>>,
}

/// Those who can be asked, in the order in which they are.
pub(crate) type Askable = Vec<mpsc::Sender<Question>>;

/// What is known under an id, or can be asked for.
#[derive(Clone)]
struct Source {
    passphrase: Arc<Mutex<Option<Secret>>>,
    askable: Askable,
    push: Option<String>,
}

/// All children that may ask something.
#[derive(Default)]
pub(crate) struct Questions(Mutex<HashMap<OneTimeId, Source>>);

/// For as long as it lives, a child may ask under its id.
pub(crate) struct Open {
    questions: Arc<Questions>,
    /// The id.
    pub id: OneTimeId,
}

impl Questions {
    /// Lets a child ask: it is given this passphrase, once, and otherwise one of these is asked. Where it is part of a push,
    /// only that may.
    ///
    /// # Errors
    /// Fails when the system has no randomness.
    pub(crate) fn open(
        self: &Arc<Self>,
        passphrase: Option<Secret>,
        askable: Askable,
        push: Option<&str>,
    ) -> io::Result<Open> {
        let id = OneTimeId(random_id()?);
        let source = Source {
            passphrase: Arc::new(Mutex::new(passphrase)),
            askable,
            push: push.map(str::to_owned),
        };
        self.sources().insert(id.clone(), source);
        Ok(Open {
            questions: self.clone(),
            id,
        })
    }

    /// The answer to a question of the child that was given this id; `None` when there is none.
    pub(crate) async fn answer(
        &self,
        id: &OneTimeId,
        push: Option<&str>,
        prompt: String,
    ) -> Option<Secret> {
        let source = self.sources().get(id)?.clone();
        if source.push.as_deref() != push {
            // Whoever brings it has no business with it; nobody else has any more, either.
            self.sources().remove(id);
            return None;
        }
        if is_for_passphrase(&prompt) {
            let stored = source
                .passphrase
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if stored.is_some() {
                return stored;
            }
        }
        for client in source.askable {
            let (answer, answered) = oneshot::channel();
            let question = Question {
                prompt: prompt.clone(),
                answer,
            };
            // One that has gone leaves the question to the next.
            if client.send(question).await.is_ok()
                && let Ok(answer) = answered.await
            {
                return answer;
            }
        }
        None
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<OneTimeId, Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.questions.sources().remove(&self.id);
    }
}

/// Whether ssh wants a passphrase.
pub(crate) fn is_for_passphrase(prompt: &str) -> bool {
    prompt.contains(PASSPHRASE)
}

/// Whether the answer to a question may be seen while it is typed, as ssh lets it be.
pub(crate) fn may_be_seen(prompt: &str) -> bool {
    prompt.contains("(yes/no")
}
