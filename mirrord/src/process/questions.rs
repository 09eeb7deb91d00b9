//! Questions that a child of ours has for the person: ssh asks its askpass program, which is ours and asks this daemon,
//! which asks one of those who wait for the sync.

use std::{collections::HashMap, io, path::Path, sync::Arc};

use common::protocol::{OneTimeId, Secret};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot, watch};

use crate::process::id;

/// The beginning of ssh's question for the passphrase of a key. Questions of a server begin otherwise.
const PASSPHRASE: &str = "Enter passphrase for key '";

/// A passphrase, and the question to which it is the answer: no other is answered with it, whoever puts it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Passphrase {
    /// The question, as ssh would print it.
    pub question: String,
    /// The passphrase.
    pub answer: Secret,
}

impl Passphrase {
    /// The passphrase of a key, with ssh's question for it.
    pub(crate) fn of_key(file: &Path, answer: Secret) -> Self {
        Self {
            question: question_of(file),
            answer,
        }
    }

    /// Whether it is that of this key.
    pub(crate) fn is_of(&self, file: &Path) -> bool {
        self.question == question_of(file)
    }
}

/// A question for one client.
pub(crate) struct Question {
    /// The question, as ssh would print it.
    pub prompt: String,
    /// The receiver of the answer; None if there is no answer.
    pub answer: oneshot::Sender<Option<Secret>>,
}

/// Two ways to go to an upstream with equal fingerprints are the same: login, settings and all.
pub(crate) type Fingerprint = u64;

/// A client that can be asked.
#[derive(Clone)]
pub(crate) struct Asker {
    /// The channel for questions to the client.
    pub client: mpsc::Sender<Question>,
    /// The fingerprint of its credentials.
    pub fingerprint: Fingerprint,
    /// The fingerprint of the client that is being asked. Requests with the same one that cannot be asked need not wait.
    pub asking: watch::Sender<Option<Fingerprint>>,
}

/// The clients that can be asked, in the order of asking.
pub(crate) type Askable = Vec<Asker>;

/// A guard: while it lives, a client is being asked.
struct Asking<'a>(&'a watch::Sender<Option<Fingerprint>>);

impl Asker {
    fn begin(&self) -> Asking<'_> {
        self.asking.send_replace(Some(self.fingerprint));
        Asking(&self.asking)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

/// The source of answers for an id.
#[derive(Clone)]
struct Source {
    passphrase: Arc<Mutex<Option<Passphrase>>>,
    prompts: Arc<Mutex<Prompts>>,
    askable: Askable,
    push: Option<String>,
}

/// The number of times that a child has asked for each passphrase, by the question.
#[derive(Default)]
struct Prompts(HashMap<String, Prompt>);

#[derive(Default)]
struct Prompt {
    asked: u32,
    answered: u32,
}

/// Why a key cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadPassphrase {
    /// The key has a passphrase, and no client answered.
    Unknown,
    /// The answers were not the passphrase of the key.
    Wrong,
}

/// All children that may ask something.
#[derive(Default)]
pub(crate) struct Questions(Mutex<HashMap<OneTimeId, Source>>);

/// A guard: while it lives, a child may ask under its id.
pub(crate) struct Open {
    questions: Arc<Questions>,
    /// The id.
    pub id: OneTimeId,
    prompts: Arc<Mutex<Prompts>>,
}

impl Open {
    /// The key that ssh could not read, and why, where it has asked for a passphrase at most `limit` times. It asks again
    /// only after a wrong answer, and as a rule only for a key that upstream takes.
    pub(crate) fn bad_passphrase(&self, limit: u32) -> Option<(String, BadPassphrase)> {
        let prompts = self.prompts.lock();
        prompts.0.iter().find_map(|(question, prompt)| {
            let bad = match *prompt {
                Prompt { answered: 0, .. } => BadPassphrase::Unknown,
                Prompt { asked, answered } if asked > answered || asked >= limit => {
                    BadPassphrase::Wrong
                }
                Prompt { .. } => return None,
            };
            let file = question.strip_prefix(PASSPHRASE)?.strip_suffix("': ")?;
            Some((file.to_owned(), bad))
        })
    }
}

/// Returns ssh's question for the passphrase of a key.
fn question_of(file: &Path) -> String {
    let file = file.to_string_lossy();
    // ssh shows no more of a path (`load_identity_file` in its sshconnect2.c).
    let shown = file.get(..file.floor_char_boundary(100)).unwrap_or(&file);
    format!("{PASSPHRASE}{shown}': ")
}

impl Questions {
    /// Lets a child ask: it is given this passphrase, once, and otherwise one of these is asked. Where it is part of a push,
    /// only that may.
    pub(crate) fn open(
        self: &Arc<Self>,
        passphrase: Option<Passphrase>,
        askable: Askable,
        push: Option<&str>,
    ) -> io::Result<Open> {
        let id = OneTimeId(id::random()?);
        let prompts = Arc::<Mutex<Prompts>>::default();
        let source = Source {
            passphrase: Arc::new(Mutex::new(passphrase)),
            prompts: prompts.clone(),
            askable,
            push: push.map(str::to_owned),
        };
        self.sources().insert(id.clone(), source);
        Ok(Open {
            questions: self.clone(),
            id,
            prompts,
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
        let is_passphrase = is_for_passphrase(&prompt);
        if is_passphrase {
            source.prompts.lock().of(&prompt).asked += 1;
        }
        let answer = Self::answer_from(&source, &prompt).await;
        // ssh takes an empty one for none.
        let is_some = answer.as_ref().is_some_and(|Secret(text)| !text.is_empty());
        if is_passphrase && is_some {
            source.prompts.lock().of(&prompt).answered += 1;
        }
        answer
    }

    async fn answer_from(source: &Source, prompt: &str) -> Option<Secret> {
        let stored = {
            let mut passphrase = source.passphrase.lock();
            passphrase.take_if(|passphrase| passphrase.question == prompt)
        };
        if let Some(passphrase) = stored {
            return Some(passphrase.answer);
        }
        for asker in &source.askable {
            let _asking = asker.begin();
            let (answer, answered) = oneshot::channel();
            let question = Question {
                prompt: prompt.to_owned(),
                answer,
            };
            // One that has gone leaves the question to the next.
            if asker.client.send(question).await.is_ok()
                && let Ok(answer) = answered.await
            {
                return answer;
            }
        }
        None
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<OneTimeId, Source>> {
        self.0.lock()
    }
}

impl Prompts {
    fn of(&mut self, question: &str) -> &mut Prompt {
        self.0.entry(question.to_owned()).or_default()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.questions.sources().remove(&self.id);
    }
}

/// Whether ssh wants a passphrase.
pub(crate) fn is_for_passphrase(prompt: &str) -> bool {
    prompt.starts_with(PASSPHRASE)
}

/// Whether the answer to a question may be seen while it is typed, as ssh lets it be.
pub(crate) fn may_be_seen(prompt: &str) -> bool {
    // Of a host's key it asks first so, and again where the answer was none of these.
    prompt.contains("(yes/no") || prompt.starts_with("Please type 'yes', 'no'")
}

#[cfg(test)]
mod tests {

    use super::*;

    #[tokio::test]
    async fn a_passphrase_is_the_answer_to_one_question_alone_and_once() {
        let questions = Arc::<Questions>::default();
        let file = Path::new("/home/me/key");
        let passphrase = Passphrase::of_key(file, Secret("open sesame".into()));
        let open = questions
            .open(Some(passphrase), Vec::new(), None)
            .expect("random");
        let ask = async |prompt: &str| questions.answer(&open.id, None, prompt.to_owned()).await;
        for other in [
            "(git@h) Enter passphrase for key '/home/me/key': ",
            "Enter passphrase for key '/home/me/key2': ",
            "Enter passphrase for key '/home/me/other': ",
            "passphrase for: ",
            "git@h's password: ",
        ] {
            assert_eq!(ask(other).await, None, "{other}");
        }
        let question = "Enter passphrase for key '/home/me/key': ";
        assert_eq!(ask(question).await, Some(Secret("open sesame".into())));
        assert_eq!(ask(question).await, None, "it was wrong");
    }

    #[tokio::test]
    async fn a_passphrase_is_wrong_where_ssh_asks_again_and_unknown_where_nobody_answers() {
        let questions = Arc::<Questions>::default();
        let file = Path::new("/home/me/key");
        let passphrase = || Passphrase::of_key(file, Secret("guess".into()));
        let open = |stored| {
            let open = questions.open(stored, Vec::new(), None);
            open.expect("random")
        };
        let ask = async |open: &Open| questions.answer(&open.id, None, question_of(file)).await;
        let stored = open(Some(passphrase()));
        let bad = |why| Some(("/home/me/key".to_owned(), why));
        assert_eq!(stored.bad_passphrase(3), None, "ssh has not asked");
        ask(&stored).await;
        assert_eq!(stored.bad_passphrase(3), None, "it was right");
        let last = stored.bad_passphrase(1);
        assert_eq!(last, bad(BadPassphrase::Wrong), "ssh would not ask again");
        ask(&stored).await;
        assert_eq!(stored.bad_passphrase(3), bad(BadPassphrase::Wrong));
        let nobody = open(None);
        ask(&nobody).await;
        assert_eq!(nobody.bad_passphrase(3), bad(BadPassphrase::Unknown));
    }

    #[tokio::test]
    async fn who_goes_leaves_the_question_to_the_next() {
        let questions = Arc::<Questions>::default();
        let (gone, there) = (mpsc::channel(1), mpsc::channel(1));
        let fingerprint = 7;
        let asker = |client| Asker {
            client,
            fingerprint,
            asking: watch::Sender::new(None),
        };
        let askable = vec![asker(gone.0), asker(there.0)];
        let mut under_way = askable[1].asking.subscribe();
        drop(gone.1);
        let open = questions.open(None, askable, None).expect("random");
        let mut there = there.1;
        let answering = async {
            let Some(question) = there.recv().await else {
                return;
            };
            assert_eq!(question.prompt, "well?");
            assert!(*under_way.borrow_and_update() == Some(fingerprint));
            let _ = question.answer.send(Some(Secret("yes".into())));
        };
        let asking = questions.answer(&open.id, None, "well?".into());
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer, Some(Secret("yes".into())));
        assert!(under_way.borrow().is_none(), "it is over");
    }

    #[tokio::test]
    async fn an_id_is_for_its_own_push_and_for_as_long_as_it_lives() {
        let questions = Arc::<Questions>::default();
        let open = || {
            let file = Path::new("/key");
            let passphrase = Passphrase::of_key(file, Secret("open sesame".into()));
            questions
                .open(Some(passphrase), Vec::new(), Some("mine"))
                .expect("random")
        };
        let question = || "Enter passphrase for key '/key': ".to_owned();
        let one = open();
        assert_eq!(
            questions.answer(&one.id, Some("theirs"), question()).await,
            None
        );
        assert_eq!(
            questions.answer(&one.id, Some("mine"), question()).await,
            None
        );
        let two = open();
        let id = two.id.clone();
        drop(two);
        assert_eq!(questions.answer(&id, Some("mine"), question()).await, None);
    }
}
